import { type Code, ConnectError } from "@connectrpc/connect";
import type { LinkState } from "../map-status.js";

/** The means by which the tabs of an origin coordinate: an exclusive lock by name, and channels. */
export interface TabPlatform {
  locks: Pick<LockManager, "request">;
  openChannel(name: string): BroadcastChannel;
}

/** The platform of this tab or worker; undefined where it has no Web Locks or no channels. */
export function tabPlatform(): TabPlatform | undefined {
  const { navigator, BroadcastChannel: Channel } = globalThis as Partial<typeof globalThis>;
  const locks = navigator?.locks as LockManager | undefined;
  return locks && Channel ? { locks, openChannel: (name) => new Channel(name) } : undefined;
}

type PostedError = { code: Code; text: string };

/** The state of the leading tab's stream, as it can be posted. */
export type PostedState = Omit<LinkState, "error"> & { error: PostedError | undefined };

/** A message between two tabs of a map; `from` is the member id of the sender. */
export type TabMessage = { from: string } & (
  | { type: "who leads" }
  | { type: "leads"; state: PostedState }
  | { type: "open"; stream: number }
  /** A message of the stream. The receiver acknowledges it when it has handled it. */
  | { type: "data"; stream: number; bytes: Uint8Array }
  | { type: "ack"; stream: number }
  | { type: "end"; stream: number }
  /** Asks the leader to tell when the server has all that the leader has now. `isPrompt`: without delay. */
  | { type: "confirm"; id: number; isPrompt: boolean }
  | { type: "confirmed"; id: number; error: PostedError | undefined }
);

type WithoutSender<T> = T extends unknown ? Omit<T, "from"> : never;

/** The messages to and from one tab: of all tabs of the map, and to this one only. */
export class TabChannel {
  readonly #platform: TabPlatform;
  readonly #name: string;
  readonly #member: string;
  readonly #all: BroadcastChannel;
  readonly #own: BroadcastChannel;
  /** The channels of the tabs that this one has sent to. */
  readonly #others = new Map<string, BroadcastChannel>();

  constructor(
    platform: TabPlatform,
    { name, member, onMessage }: { name: string; member: string; onMessage: (message: TabMessage) => void },
  ) {
    this.#platform = platform;
    this.#name = name;
    this.#member = member;
    const listen = (event: { data: TabMessage }) => onMessage(event.data);
    this.#all = platform.openChannel(name);
    this.#own = platform.openChannel(`${name}#${member}`);
    this.#all.onmessage = this.#own.onmessage = listen;
  }

  /** Sends to all other tabs. */
  tellAll(message: WithoutSender<TabMessage>): void {
    this.#all.postMessage({ ...message, from: this.#member });
  }

  /** Sends to the tab of `member`, if there still is one. */
  tell(member: string, message: WithoutSender<TabMessage>): void {
    let channel = this.#others.get(member);
    if (!channel) {
      channel = this.#platform.openChannel(`${this.#name}#${member}`);
      this.#others.set(member, channel);
    }
    channel.postMessage({ ...message, from: this.#member });
  }

  /** To be called when the tab of `member` is gone. */
  forget(member: string): void {
    this.#others.get(member)?.close();
    this.#others.delete(member);
  }

  close(): void {
    for (const channel of [this.#all, this.#own, ...this.#others.values()]) channel.close();
    this.#others.clear();
  }
}

/** An error loses its class when it is posted. */
export const postedState = ({ error, ...rest }: LinkState): PostedState => {
  const { code, rawMessage: text } = ConnectError.from(error);
  return { ...rest, error: error === undefined ? undefined : { code, text } };
};

export const receivedState = ({ error, ...rest }: PostedState): LinkState => ({
  ...rest,
  error: error && new ConnectError(error.text, error.code),
});
