import type { SubscribeTopicEventsRequestInitial } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { APP_ID_HEADER, FENCE_HEADER, LOG_HEADER } from "../../rpc/extension-headers.js";
import { invalid } from "../errors.js";

/** The name of the log that a request is about, not checked yet. */
export function logNameIn(header: Headers): string {
  const text = header.get(LOG_HEADER);
  if (text === null) return "default";
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(LOG_HEADER, text, "must be the name of a log, percent-encoded");
  }
}

/** The consumer group that a subscription as a stream is for; `appId` is this runtime's own. */
export const consumerGroupOf = (
  { metadata }: Pick<SubscribeTopicEventsRequestInitial, "metadata">,
  header: Headers,
  appId: string,
): string => metadata["consumerGroup"] || (header.get(APP_ID_HEADER) ?? appId);

const FENCE_FORM =
  "must be <store>/<resource>=<number>, store and resource percent-encoded; several with a comma";

/** A fence that a write is checked against: the number of a grant of a lock. */
interface Fence {
  store: string;
  resource: string;
  number: bigint;
}

/** The fences of a `fairlead-fence` header. */
export function fencesIn(header: Headers): Fence[] {
  const text = header.get(FENCE_HEADER);
  if (text === null) return [];
  return text.split(",").map((part) => {
    const match = /^\s*([^/\s]+)\/(\S+)=([1-9]\d{0,19})\s*$/.exec(part);
    if (!match) throw invalid(FENCE_HEADER, part, FENCE_FORM);
    const [store, resource] = [match[1] ?? "", match[2] ?? ""].map(decoded) as [string, string];
    return { store, resource, number: BigInt(match[3] ?? "") };
  });
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid(FENCE_HEADER, part, FENCE_FORM);
  }
}
