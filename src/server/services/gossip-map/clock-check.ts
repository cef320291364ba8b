import type { ConnectError } from "@connectrpc/connect";
import type { Message } from "../../../../gen/atomix/map/map_pb.js";
import { wallMsOf } from "../../../gossip/clock.js";
import type { Environment } from "../../../gossip/environment.js";
import type { ServiceContext } from "../../context.js";
import { clockAhead } from "../../errors.js";

/** The refusal of a message, and how many of its entries or digests are too far ahead. */
type ClockRefusal = { error: ConnectError; entries: number };

/**
 * The refusal of a message with a timestamp that is more than `maxAheadMs` ahead of `nowMs`; undefined if it has none.
 * Without this limit, one member with a wrong clock would advance the clocks of all others, and its writes would win for
 * as long as its clock is ahead.
 */
function clockRefusal(
  { message }: Message,
  { nowMs, maxAheadMs }: { nowMs: number; maxAheadMs: number },
): ClockRefusal | undefined {
  if (message.case === undefined) return undefined;
  const isAhead = (timestamp: Uint8Array) => wallMsOf(timestamp) - nowMs > maxAheadMs;
  const ahead = [...entryTimestamps(message)].filter(([, timestamp]) => isAhead(timestamp));
  const { timestamp: clock } = message.value;
  const [first] = ahead;
  if (!first && !isAhead(clock)) return undefined;
  const [field, timestamp] = first
    ? [entryField(message.case, first[0]), first[1]]
    : [`${FIELDS[message.case]}.timestamp`, clock];
  return { error: clockAhead(field, timestamp, nowMs, maxAheadMs), entries: ahead.length };
}

/** Yields `messages`. Throws at one with a clock that is too far ahead, and counts its entries. */
export async function* refuseClocksAhead(
  messages: AsyncIterable<Message>,
  { gossip: { maxAheadMs }, count }: Pick<ServiceContext, "gossip" | "count">,
  environment: Environment,
): AsyncGenerator<Message, void, undefined> {
  for await (const message of messages) {
    const refusal = clockRefusal(message, { nowMs: environment.nowMs(), maxAheadMs });
    if (refusal) {
      count("fairlead_gossip_refused_entries_total", refusal.entries);
      throw refusal.error;
    }
    yield message;
  }
}

const FIELDS = {
  update: "update",
  updateRequest: "update_request",
  antiEntropyAdvertisement: "anti_entropy_advertisement",
};

const entryField = (kind: keyof typeof FIELDS, key: string): string =>
  kind === "update"
    ? `update.updates[${JSON.stringify(key)}].digest.timestamp`
    : `${FIELDS[kind]}.digest[${JSON.stringify(key)}].timestamp`;

/** The timestamps of the entries or digests of a message, by key. */
function* entryTimestamps(message: Message["message"]): Generator<[key: string, timestamp: Uint8Array]> {
  if (message.case === "update") {
    for (const [key, { digest }] of Object.entries(message.value.updates))
      if (digest) yield [key, digest.timestamp];
  } else if (message.case === "antiEntropyAdvertisement") {
    for (const [key, { timestamp }] of Object.entries(message.value.digest)) yield [key, timestamp];
  }
}
