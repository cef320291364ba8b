import type { Logger } from "../../context.js";

/** Logs that an idle consumer group was removed, and how many events were dropped with it. */
export function logDroppedEvents(
  log: Pick<Logger, "warn">,
  topic: string,
  group: string,
  events: number,
): void {
  if (events === 0) return;
  // The engine's name of a topic begins with its pubsub.
  const [pubsub = "", name = ""] = topic.includes("\0") ? topic.split("\0") : ["", topic];
  const facts = { ...(pubsub !== "" && { pubsub }), topic: name, group, events };
  log.warn(
    facts,
    "a consumer group without a consumer was forgotten, and the events that waited for it are dropped",
  );
}
