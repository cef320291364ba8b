import { LOG_HEADER } from "../../rpc/extension-headers.js";

/** The paths of request fields that name the store, map, service or component. The first that is set counts. */
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
 * The id of the scenario that a call belongs to: the header `scenario`, otherwise the name of the store in the first
 * message. Calls of a log name no store, so they need the header.
 */
export function scenarioIdOf(headers: Headers, message: unknown): string | undefined {
  const header = headers.get("scenario") ?? headers.get(LOG_HEADER);
  if (header !== null) return header;
  for (const place of NAME_FIELDS) {
    const name = place.reduce<unknown>(
      (at, name) => (at as Record<string, unknown> | undefined)?.[name],
      message,
    );
    if (typeof name === "string" && name !== "") return name;
  }
  return undefined;
}
