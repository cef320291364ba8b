import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import { GossipMapService, type Message, MessageSchema } from "../../gen/atomix/map/map_pb.js";
import { Queue } from "../../src/lib/queue.js";
import { utf8 } from "../../src/lib/utf8.js";

type Init = Exclude<MessageInitShape<typeof MessageSchema>, Message>;

/** A gossip member on the generated client, with the messages that it received. */
export interface RawMember extends AsyncDisposable {
  send(message: Init["message"], rest?: Omit<Init, "message">): void;
  /** Sends entries: a text, or null for a tombstone, and the clock of each. */
  update(entries: Record<string, [value: string | null, clock: number | bigint]>): void;
  /** Sends the digest of all entries that it claims to have, in one message. */
  advertise(digest: Record<string, number | bigint>): void;
  /** Waits for a message that `fits`, returns it and drops all before it. */
  until(fits: (message: Message) => boolean): Promise<Message>;
  /** Ends its own half of the stream. */
  end(): void;
  /** Settles when the stream has ended. Starts to read if nothing else did. */
  readonly ended: Promise<void>;
}

/** A timestamp without a member id, as the Go implementation writes it. */
export function clock(at: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(at));
  return bytes;
}

/** Joins as the Go implementation does: 8-byte timestamps, one stream for everything. `lazy`: does not read until asked. */
export function rawMember(
  transport: Transport,
  name: string,
  { namespace = "default", lazy = false }: { namespace?: string; lazy?: boolean } = {},
): RawMember {
  const target = { namespace, name };
  const outgoing = new Queue<Message>();
  const closing = new AbortController();
  const stream = createClient(GossipMapService, transport).connect(outgoing, { signal: closing.signal });
  const received: Message[] = [];
  const waiting = new Set<() => void>();
  let reading: Promise<void> | undefined;
  const read = async () => {
    try {
      for await (const message of stream) {
        received.push(message);
        for (const wake of waiting) wake();
      }
    } finally {
      for (const wake of waiting) wake();
    }
  };
  const start = () => {
    reading ??= read();
    reading.catch(() => {});
    return reading;
  };
  if (!lazy) start();
  const send: RawMember["send"] = (message, rest = {}) =>
    outgoing.push(create(MessageSchema, { source: "member-1", target, message, ...rest }));
  const dispose = async () => {
    outgoing.end();
    closing.abort();
    await start().catch(() => {});
  };
  return {
    send,
    update(entries) {
      const updates = Object.entries(entries).map(([key, [value, at]]) => {
        const digest = { timestamp: clock(at), tombstone: value === null };
        return [key, { digest, ...(value !== null && { value: utf8(value) }) }];
      });
      send({ case: "update", value: { updates: Object.fromEntries(updates) } });
    },
    advertise(digest) {
      const digests = Object.entries(digest).map(([key, at]) => [key, { timestamp: clock(at) }]);
      send({ case: "antiEntropyAdvertisement", value: { digest: Object.fromEntries(digests) } });
    },
    async until(fits) {
      let isEnded = false;
      start().then(
        () => (isEnded = true),
        () => (isEnded = true),
      );
      while (true) {
        const index = received.findIndex(fits);
        if (index >= 0) return received.splice(0, index + 1).at(-1) as Message;
        if (isEnded) await reading;
        if (isEnded) throw new Error("the stream ended before");
        await new Promise<void>((resolve) => {
          waiting.add(resolve);
          reading?.then(resolve, resolve);
        });
      }
    },
    end: () => outgoing.end(),
    get ended() {
      return start();
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** Whether the message is an update with an entry for `key`. */
export const updates =
  (key: string) =>
  ({ message }: Message): boolean =>
    message.case === "update" && Object.hasOwn(message.value.updates, key);

export const advertises = ({ message }: Message): boolean => message.case === "antiEntropyAdvertisement";
