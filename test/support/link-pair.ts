import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Message, MessageSchema } from "../../gen/atomix/map/map_pb.js";
import type { Environment } from "../../src/gossip/environment.js";
import { Link, type LinkOptions } from "../../src/gossip/link.js";
import { Replica } from "../../src/gossip/replica.js";

/** A clock that a test sets, and no timers. */
export class ManualClock implements Environment {
  ms = 1_700_000_000_000;
  readonly random = (): number => 0.5;
  nowMs = (): number => this.ms;
  monotonicMs = (): number => this.ms;
  after = (): (() => void) => () => {};
}

type Side = {
  replica: Replica;
  link: Link;
  /** The encoded messages that it has sent and that have not arrived, in order. */
  sent: Uint8Array[];
};

/** Two replicas, and a stream between them whose messages a test delivers. */
export class LinkPair {
  readonly clock = new ManualClock();
  readonly a: Side;
  readonly b: Side;
  /** All bytes and messages that were sent. */
  bytes = 0;
  readonly messages: Message[] = [];
  readonly #options: { a?: Partial<LinkOptions>; b?: Partial<LinkOptions> };

  constructor(options: { a?: Partial<LinkOptions>; b?: Partial<LinkOptions> } = {}) {
    this.#options = options;
    this.a = this.#side("member-a", options.a);
    this.b = this.#side("member-b", options.b);
  }

  /** Puts the same entries into both. */
  share(keys: Iterable<string>, value = new Uint8Array(1)): void {
    for (const key of keys) this.b.replica.apply(key, this.a.replica.set(key, value).after);
  }

  /** Breaks the stream, and opens another one, on which `a` speaks first. */
  reopen(): void {
    this.a.link = this.#link(this.a.replica, this.#options.a);
    this.b.link = this.#link(this.b.replica, this.#options.b);
    this.a.sent.length = 0;
    this.b.sent.length = 0;
    this.a.link.advertise();
  }

  /** Delivers one message from one side to the other, if there is one. Returns whether there was. */
  step(from: Side, to: Side): boolean {
    const message = from.link.next(Number.POSITIVE_INFINITY);
    if (message) this.#send(from, message);
    const bytes = from.sent.shift();
    if (!bytes) return false;
    this.deliver(bytes, to);
    return true;
  }

  deliver(bytes: Uint8Array, to: Side): void {
    for (const [key, value] of to.link.receive(fromBinary(MessageSchema, bytes))) {
      const stored = to.replica.apply(key, value);
      if (stored) to.link.knows(stored);
    }
  }

  /** Sends what is pending on both sides without delivering it. */
  send(): void {
    for (const side of [this.a, this.b]) {
      for (let next = side.link.next(Number.POSITIVE_INFINITY); next; ) {
        this.#send(side, next);
        next = side.link.next(Number.POSITIVE_INFINITY);
      }
    }
  }

  /** Exchanges messages until neither side has more. Returns how many. */
  settle(most = 10_000): number {
    for (let count = 0; ; count++) {
      const isIdle = !this.step(this.a, this.b) && !this.step(this.b, this.a);
      if (isIdle) return count;
      if (count >= most) throw new Error(`the two did not stop after ${most} messages`);
    }
  }

  /** Whether both have the same entries. */
  get isEqual(): boolean {
    const [one, two] = [this.a.replica, this.b.replica];
    if (one.size !== two.size) return false;
    const wordsOf = (at: Replica) => [...at.fingerprints.root()].join();
    for (const key of one.keys()) {
      const [x, y] = [one.get(key), two.get(key)];
      if (!x || !y || Buffer.compare(x.digest?.timestamp ?? x.value, y.digest?.timestamp ?? y.value) !== 0)
        return false;
      if (Buffer.compare(x.value, y.value) !== 0) return false;
    }
    return wordsOf(one) === wordsOf(two);
  }

  #send(from: Side, message: Message): void {
    const bytes = toBinary(MessageSchema, message);
    this.bytes += bytes.length;
    this.messages.push(message);
    from.sent.push(bytes);
  }

  #side(member: string, options?: Partial<LinkOptions>): Side {
    const replica = new Replica(member, { tombstoneMs: 24 * 3_600_000, environment: this.clock });
    return { replica, link: this.#link(replica, options), sent: [] };
  }

  #link(replica: Replica, options: Partial<LinkOptions> = {}): Link {
    return new Link(replica, { source: "m", target: { namespace: "n", name: "m" }, flushMs: 50, ...options });
  }
}
