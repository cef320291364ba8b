import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import { GossipMapService, type Message, MessageSchema } from "../../gen/atomix/map/map_pb.js";
import { Queue } from "../../src/lib/queue.js";
import { utf8 } from "../../src/lib/utf8.js";

type Init = Exclude<MessageInitShape<typeof MessageSchema>, Message>;

/** A member by hand: the generated client, and what it was told. */
export interface RawMember extends AsyncDisposable {
  send(message: Init["message"], rest?: Omit<Init, "message">): void;
  /** Sends entries: a text, or null for a tombstone, and the clock of each. */
  update(entries: Record<string, [value: string | null, clock: number | bigint]>): void;
  /** Sends the digest of all that it claims to have, in one message. */
  advertise(digest: Record<string, number | bigint>): void;
  /** What came since the last look; waits for at least one message that `fits`. */
  until(fits: (message: Message) => boolean): Promise<Message>;
  /** Ends its own half of the stream. */
  end(): void;
  /** Settles when the stream has ended; begins to read where nothing else did. */
  readonly ended: Promise<void>;
}

/** The clock alone, as a peer writes it that knows of no member ids. */
export function clock(at: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(at));
  return bytes;
}

/** Joins as a peer in the Go manner: 8-byte timestamps, and everything on one stream. `lazy`: reads when asked to. */
export function rawMember(
  transport: Transport,
  name: string,
  { namespace = "default", lazy = false }: { namespace?: string; lazy?: boolean } = {},
): RawMember {
  const target = { namespace, name };
  const outgoing = new Queue<Message>();
  const left = new AbortController();
  const stream = createClient(GossipMapService, transport).connect(outgoing, { signal: left.signal });
  const told: Message[] = [];
  const waiting = new Set<() => void>();
  let reading: Promise<void> | undefined;
  const read = async () => {
    try {
      for await (const message of stream) {
        told.push(message);
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
    left.abort();
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
      let over = false;
      start().then(
        () => (over = true),
        () => (over = true),
      );
      while (true) {
        const found = told.findIndex(fits);
        if (found >= 0) return told.splice(0, found + 1).at(-1) as Message;
        if (over) await reading;
        if (over) throw new Error("the stream ended before");
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
