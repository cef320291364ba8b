import { LOG_HEADER } from "../../rpc/extension-headers.js";

/** Where requests say which store, map, topic, service or component they mean, outermost first. */
const NAME_FIELDS: readonly (readonly string[])[] = [
  ["storeName"],
  ["pubsubName"],
  ["serviceName"],
  ["request", "storeName"],
  ["subscribeTopicEventsRequestType", "value", "pubsubName"],
  ["componentConfig", "name"],
  ["header", "primitive", "name"],
  ["target", "name"],
  ["id"],
  ["name"],
];

/**
 * The scenario that a call is of: by the header `scenario`, which every client may send and those of a log have to, as
 * nothing else names one; else by the name of the store in its first message.
 */
export function scenarioIdOf(headers: Headers, message: unknown): string | undefined {
  const told = headers.get("scenario") ?? headers.get(LOG_HEADER);
  if (told !== null) return told;
  for (const place of NAME_FIELDS) {
    const found = place.reduce<unknown>(
      (at, name) => (at as Record<string, unknown> | undefined)?.[name],
      message,
    );
    if (typeof found === "string" && found !== "") return found;
  }
  return undefined;
}
