import { ConnectError } from "@connectrpc/connect";
import type { Message } from "../../../../gen/atomix/map/map_pb.js";
import type { Link } from "../../../gossip/link.js";
import { onAbort } from "../../../lib/on-abort.js";
import type { LinkState } from "../map-status.js";
import { FollowerLinks, type FollowerLinksOptions } from "./follower-links.js";
import { Following } from "./following.js";
import { postedState, receivedState, TabChannel, type TabMessage, type TabPlatform } from "./tab-channel.js";
import { TabLock } from "./tab-lock.js";

export interface TabsOptions extends Omit<FollowerLinksOptions, "channel"> {
  platform: TabPlatform;
  /** The name of the lock and of the channels. */
  name: string;
  /** The state of the stream to the server, which the leading tab tells the others. */
  state: () => LinkState;
  /** Resolves when the server has everything that is here now. */
  synced: (isPrompt: boolean) => Promise<void>;
  /** Called when this tab leads, or follows another one, from now on. */
  onRole: (role: "leader" | "follower") => void;
  /** Called if this tab follows: the leading tab, or its state, is another one. */
  onLeader: (state: LinkState, isOther: boolean) => void;
  /** Called if this tab leads, and the tab of `member` is gone. */
  onGone: (member: string) => void;
}

/**
 * The tabs of an origin that have the same map open. The one with the Web Lock leads: it has the stream to the server
 * and writes to the storage, and it is for the other tabs what the server is for it. The browser gives the lock to the
 * next tab when the leading one is gone; one that is frozen and does not answer loses it.
 */
export class Tabs {
  readonly #options: TabsOptions;
  readonly #channel: TabChannel;
  readonly #lock: TabLock;
  /** Tells the leading tab whether this one is gone. */
  readonly #ownLock: TabLock;
  /** The locks of the followers, for which the leading tab waits. */
  readonly #followerLocks = new Map<string, TabLock>();
  #followers: FollowerLinks | undefined;
  #following: Following | undefined;
  #lastState = "";

  constructor(options: TabsOptions) {
    this.#options = options;
    const { platform, name, source: member } = options;
    this.#channel = new TabChannel(platform, {
      name,
      member,
      onMessage: (message) => this.#receive(message),
    });
    this.#ownLock = new TabLock(platform.locks, {
      name: lockOf(name, member),
      onAcquired: () => {},
      onLost: () => {},
    });
    this.#lock = new TabLock(platform.locks, {
      name,
      onAcquired: () => this.#lead(),
      onLost: () => {
        this.#follow();
        this.#lock.wait();
      },
    });
  }

  /** Resolves when it is known whether this tab leads. */
  async start(): Promise<void> {
    void this.#ownLock.tryAcquire();
    if (await this.#lock.tryAcquire()) return;
    this.#follow();
    this.#lock.wait();
  }

  get isFollowing(): boolean {
    return this.#following !== undefined;
  }

  /** Sends the entry at `key` to the tabs that follow this one, but not to the one that it came from. */
  changed(key: string, from?: Link): void {
    this.#followers?.changed(key, from);
  }

  /** Whether all tabs that follow this one have the entry at `key`. */
  have(key: string): boolean {
    return this.#followers?.have(key) ?? true;
  }

  /** To be called when state() may have changed. */
  stateChanged(): void {
    if (!this.#followers) return;
    const state = postedState(this.#options.state());
    const text = JSON.stringify(state);
    if (text === this.#lastState) return;
    this.#lastState = text;
    this.#channel.tellAll({ type: "leads", state });
  }

  /** A stream to the leading tab. */
  async *open(
    messages: AsyncIterable<Message>,
    signal: AbortSignal,
  ): AsyncGenerator<Message, void, undefined> {
    const following = this.#following;
    if (!following) return;
    const stream = await following.open(signal);
    const stopListening = onAbort(signal, () => stream.close(ConnectError.from(signal.reason)));
    try {
      void stream.send(messages);
      yield* stream.messages();
    } finally {
      stopListening();
      stream.close();
    }
  }

  /**
   * Whether the leading tab has answered that the server has everything. False: another tab leads now. Fails if the
   * server refuses it.
   */
  async confirm(isPrompt: boolean): Promise<boolean> {
    return (await this.#following?.confirm(isPrompt)) ?? false;
  }

  /** Lets another tab lead: this one is frozen from now on, or gone. start() may follow. */
  suspend(): void {
    this.#endRole();
    this.#lock.release();
    this.#ownLock.release();
  }

  close(): void {
    this.suspend();
    this.#lock.close();
    this.#ownLock.close();
    this.#channel.close();
  }

  #lead(): void {
    this.#endRole();
    const { platform: _, name: __, ...options } = this.#options;
    this.#followers = new FollowerLinks({ ...options, channel: this.#channel });
    this.#options.onRole("leader");
    this.#lastState = "";
    this.stateChanged();
  }

  #follow(): void {
    this.#endRole();
    this.#following = new Following({
      environment: this.#options.replica.environment,
      channel: this.#channel,
      onSilent: () => this.#lock.steal(),
    });
    this.#options.onRole("follower");
  }

  #endRole(): void {
    this.#following?.close();
    this.#following = undefined;
    this.#followers?.close();
    this.#followers = undefined;
    for (const lock of this.#followerLocks.values()) lock.close();
    this.#followerLocks.clear();
  }

  #receive(message: TabMessage): void {
    if (this.#followers) this.#receiveAsLeader(this.#followers, message);
    else if (message.type === "leads") {
      const isOther = this.#following?.heard(message.from) ?? false;
      if (this.#following) this.#options.onLeader(receivedState(message.state), isOther);
    } else this.#following?.receive(message);
  }

  #receiveAsLeader(followers: FollowerLinks, message: TabMessage): void {
    const { from, type } = message;
    if (type === "who leads") {
      this.#channel.tell(from, { type: "leads", state: postedState(this.#options.state()) });
    } else if (type === "confirm") {
      const tell = (error?: unknown) => {
        const { code, rawMessage: text } = ConnectError.from(error);
        this.#channel.tell(from, {
          type: "confirmed",
          id: message.id,
          error: error ? { code, text } : undefined,
        });
      };
      this.#options.synced(message.isPrompt).then(() => tell(), tell);
    } else {
      if (type === "open") this.#awaitEnd(from);
      followers.receive(message);
    }
  }

  /** Waits for the lock of another tab, which is free when that tab is gone. */
  #awaitEnd(member: string): void {
    if (this.#followerLocks.has(member)) return;
    const lock = new TabLock(this.#options.platform.locks, {
      name: lockOf(this.#options.name, member),
      onAcquired: () => {
        lock.close();
        this.#followerLocks.delete(member);
        this.#followers?.remove(member);
        this.#channel.forget(member);
        this.#options.onGone(member);
      },
      onLost: () => {},
    });
    this.#followerLocks.set(member, lock);
    lock.wait();
  }
}

const lockOf = (name: string, member: string): string => `${name}#${member}`;
