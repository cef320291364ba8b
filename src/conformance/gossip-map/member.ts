import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { type GossipMapService, type Message, MessageSchema } from "../../../gen/atomix/map/map_pb.js";
import { Queue } from "../../lib/queue.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import { AssertionError } from "../expect.js";

type Init = Exclude<MessageInitShape<typeof MessageSchema>, Message>;

/** An entry of an update; `value` is undefined if it is a tombstone. */
type ReceivedEntry = { value: string | undefined; timestamp: Uint8Array };

/** A member of a gossip map that sends single messages. As in the Go implementation, one stream carries all of them. */
export interface TestMember {
  send(message: Init["message"], rest?: Omit<Init, "message">): void;
  /** Sends entries: a text, or null for a tombstone, and the timestamp of each, or the clock of it. */
  update(entries: Record<string, [value: string | null, at: number | bigint | Uint8Array]>): void;
  /** Sends the digest of all entries that the member claims to have, in one message. */
  advertise(digest: Record<string, number | bigint>): void;
  /** Asks for the entries of `keys`. */
  request(...keys: string[]): void;
  /** Resolves with the next message that `fits`, and drops those before it. */
  until(fits: (message: Message) => boolean): Promise<Message>;
  /** Resolves with the entry of `key` in the next update that has it. */
  entry(key: string): Promise<ReceivedEntry>;
  /** Resolves with the keys of a whole round of advertisements, chunk by chunk. */
  round(): Promise<string[][]>;
  /** Settles when the stream has ended. */
  readonly ended: Promise<void>;
  leave(): void;
}

/** The number of keys in each advertisement of a round but the last. */
const CHUNK_KEYS = 1000;

/** A timestamp of the clock alone, without a member id. */
export function clock(at: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(at));
  return bytes;
}

const timestampOf = (at: number | bigint | Uint8Array) => (at instanceof Uint8Array ? at : clock(at));

/** Joins the map `target` as the member `source`. */
export function joinAs(
  client: Client<typeof GossipMapService>,
  source: string,
  target: { namespace: string; name: string },
): TestMember {
  const { until, ...connection } = connect(client);
  const send: TestMember["send"] = (message, rest = {}) =>
    connection.push(create(MessageSchema, { source, target, message, ...rest }));
  return {
    send,
    until,
    ended: connection.ended,
    leave: connection.leave,
    update: (entries) => send({ case: "update", value: { updates: updatesOf(entries) } }),
    advertise(digest) {
      const digests = Object.entries(digest).map(([key, at]) => [key, { timestamp: clock(at) }]);
      send({ case: "antiEntropyAdvertisement", value: { digest: Object.fromEntries(digests) } });
    },
    request: (...keys) => send({ case: "updateRequest", value: { keys } }),
    async entry(key) {
      const { message } = await until(
        ({ message }) => message.case === "update" && Object.hasOwn(message.value.updates, key),
      );
      const found = message.case === "update" ? message.value.updates[key] : undefined;
      const { timestamp = new Uint8Array(), tombstone = false } = found?.digest ?? {};
      return { value: tombstone ? undefined : fromUtf8(found?.value ?? new Uint8Array()), timestamp };
    },
    async round() {
      const chunks: string[][] = [];
      while ((chunks.at(-1)?.length ?? CHUNK_KEYS) === CHUNK_KEYS) {
        const { message } = await until(({ message }) => message.case === "antiEntropyAdvertisement");
        if (message.case === "antiEntropyAdvertisement") chunks.push(Object.keys(message.value.digest));
      }
      return chunks;
    },
  };
}

/** Opens a Connect stream and queues the messages that it receives. */
function connect(client: Client<typeof GossipMapService>) {
  const outgoing = new Queue<Message>();
  const leaving = new AbortController();
  const stream = client.connect(outgoing, { signal: leaving.signal });
  const received = new Queue<Message>();
  const incoming = received[Symbol.asyncIterator]();
  const ended = (async () => {
    try {
      for await (const message of stream) received.push(message);
      received.end();
    } catch (error) {
      received.fail(error);
      throw error;
    }
  })();
  ended.catch(() => {});
  return {
    ended,
    push: (message: Message) => outgoing.push(message),
    async until(fits: (message: Message) => boolean): Promise<Message> {
      for (;;) {
        const { value, done } = await incoming.next();
        if (done) throw new AssertionError("the stream ended before the message came");
        if (fits(value)) return value;
      }
    },
    leave() {
      outgoing.end();
      leaving.abort();
    },
  };
}

function updatesOf(entries: Parameters<TestMember["update"]>[0]) {
  const updates = Object.entries(entries).map(([key, [value, at]]) => {
    const digest = { timestamp: timestampOf(at), tombstone: value === null };
    return [key, { digest, ...(value !== null && { value: utf8(value) }) }];
  });
  return Object.fromEntries(updates);
}
