import type { Message } from "../../../../gen/atomix/map/map_pb.js";
import { runAntiEntropy } from "../../../gossip/anti-entropy.js";
import { Link, type LinkOptions } from "../../../gossip/link.js";
import { Multiplexer } from "../../../gossip/multiplexer.js";
import type { Replica } from "../../../gossip/replica.js";
import type { TabChannel, TabMessage } from "./tab-channel.js";
import { TabStream } from "./tab-stream.js";

export interface FollowerLinksOptions extends Omit<LinkOptions, "wake"> {
  replica: Replica;
  channel: TabChannel;
  antiEntropyMs: number;
  idleMs: number;
  /** Stores the entries in a message of another tab. */
  onMessage: (link: Link, message: Message) => void;
}

type Follower = { number: number; link: Link; multiplexer: Multiplexer; stream: TabStream };

/** The links of the leading tab to the others. */
export class FollowerLinks {
  readonly #options: FollowerLinksOptions;
  readonly #followers = new Map<string, Follower>();
  readonly #links = new Set<Link>();
  readonly #stopAntiEntropy: () => void;

  constructor(options: FollowerLinksOptions) {
    this.#options = options;
    const { antiEntropyMs: everyMs, idleMs, replica } = options;
    this.#stopAntiEntropy = runAntiEntropy(this.#links, {
      environment: replica.environment,
      everyMs,
      idleMs,
    });
  }

  /** Sends the entry at `key` to all tabs but that of the link that it came from. */
  changed(key: string, from?: Link): void {
    for (const link of this.#links) if (link !== from) link.changed(key);
  }

  /** Whether all tabs have the entry at `key`. */
  have(key: string): boolean {
    for (const link of this.#links) if (!link.has(key)) return false;
    return true;
  }

  receive(message: TabMessage): void {
    if (message.type === "open") {
      this.#open(message.from, message.stream);
      return;
    }
    const follower = this.#followers.get(message.from);
    if (!follower || !("stream" in message) || message.stream !== follower.number) return;
    if (message.type === "data") follower.stream.onData(message.bytes);
    else if (message.type === "ack") follower.stream.onAck();
    else follower.stream.onEnd();
  }

  /** To be called when the tab of `member` is gone. */
  remove(member: string): void {
    const follower = this.#followers.get(member);
    if (!follower) return;
    this.#followers.delete(member);
    this.#links.delete(follower.link);
    follower.multiplexer.stop();
    follower.stream.close();
  }

  close(): void {
    this.#stopAntiEntropy();
    for (const member of [...this.#followers.keys()]) this.remove(member);
  }

  #open(member: string, number: number): void {
    this.remove(member);
    const { replica, channel, antiEntropyMs: _, onMessage, ...options } = this.#options;
    const stream = new TabStream({
      send: (bytes) => channel.tell(member, { type: "data", stream: number, bytes }),
      acknowledge: () => channel.tell(member, { type: "ack", stream: number }),
      end: () => channel.tell(member, { type: "end", stream: number }),
    });
    const multiplexer = new Multiplexer(replica.environment);
    const link = new Link(replica, { ...options, wake: multiplexer.wake });
    multiplexer.add(link);
    const follower = { number, link, multiplexer, stream };
    this.#followers.set(member, follower);
    this.#links.add(link);
    const read = async () => {
      for await (const message of stream.messages()) onMessage(link, message);
      multiplexer.finish();
    };
    void Promise.all([read(), stream.send(multiplexer.messages())]).finally(() => {
      if (this.#followers.get(member) === follower) this.remove(member);
    });
  }
}
