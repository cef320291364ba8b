import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { type GossipMapService, type Message, MessageSchema } from "../../../gen/atomix/map/map_pb.js";
import { Queue } from "../../lib/queue.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import { AssertionError } from "../expect.js";

type Init = Exclude<MessageInitShape<typeof MessageSchema>, Message>;

/** An entry as a member was told of it; undefined where it is a tombstone. */
type Told = { value: string | undefined; timestamp: Uint8Array };

/** A member of a gossip map by hand, in the Go manner: everything on one stream. */
export interface Member {
  send(message: Init["message"], rest?: Omit<Init, "message">): void;
  /** Sends entries: a text, or null for a tombstone, and the timestamp of each, or the clock of it. */
  update(entries: Record<string, [value: string | null, at: number | bigint | Uint8Array]>): void;
  /** Sends the digest of all that it claims to have, in one message. */
  advertise(digest: Record<string, number | bigint>): void;
  /** Asks for the entries of `keys`. */
  request(...keys: string[]): void;
  /** The next message that `fits`, and those before it dropped. */
  until(fits: (message: Message) => boolean): Promise<Message>;
  /** The entry for `key` in the next update that has one. */
  entry(key: string): Promise<Told>;
  /** The keys of a whole round of advertisements, chunk by chunk. */
  round(): Promise<string[][]>;
  /** Settles when the stream has ended. */
  readonly ended: Promise<void>;
  leave(): void;
}

/** How many keys an advertisement has that others follow. */
const CHUNK_KEYS = 1000;

/** The clock alone, as a peer writes it that knows of no member ids. */
export function clock(at: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(at));
  return bytes;
}

const stampOf = (at: number | bigint | Uint8Array) => (at instanceof Uint8Array ? at : clock(at));

export function joinAs(
  client: Client<typeof GossipMapService>,
  source: string,
  target: { namespace: string; name: string },
): Member {
  const outgoing = new Queue<Message>();
  const left = new AbortController();
  const stream = client.connect(outgoing, { signal: left.signal });
  const told = new Queue<Message>();
  const incoming = told[Symbol.asyncIterator]();
  const ended = (async () => {
    try {
      for await (const message of stream) told.push(message);
      told.end();
    } catch (error) {
      told.fail(error);
      throw error;
    }
  })();
  ended.catch(() => {});
  const until: Member["until"] = async (fits) => {
    for (;;) {
      const { value, done } = await incoming.next();
      if (done) throw new AssertionError("the stream ended before it was told");
      if (fits(value)) return value;
    }
  };
  const send: Member["send"] = (message, rest = {}) =>
    outgoing.push(create(MessageSchema, { source, target, message, ...rest }));
  return {
    send,
    until,
    ended,
    update(entries) {
      const updates = Object.entries(entries).map(([key, [value, at]]) => {
        const digest = { timestamp: stampOf(at), tombstone: value === null };
        return [key, { digest, ...(value !== null && { value: utf8(value) }) }];
      });
      send({ case: "update", value: { updates: Object.fromEntries(updates) } });
    },
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
    leave() {
      outgoing.end();
      left.abort();
    },
  };
}
