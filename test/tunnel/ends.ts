import {
  type Client,
  type ConnectError,
  createClient,
  type Interceptor,
  type ServiceImpl,
} from "@connectrpc/connect";
import { createDispatcher } from "../../src/tunnel/answer/dispatcher.js";
import { createCaller } from "../../src/tunnel/call/caller.js";
import type { SessionOptions } from "../../src/tunnel/session/options.js";
import { Session } from "../../src/tunnel/session.js";
import { createSocketPair, type Pair, type PairOptions } from "../../src/tunnel/socket/pair.js";
import type { TunnelLimits } from "../../src/tunnel/wire/limits.js";
import { Blobs } from "./blobs.js";
import { Observer } from "./wire.js";

/** One end of a tunnel: its session, a client that calls the other end, and the frames that it has sent. */
export interface End {
  readonly session: Session;
  readonly client: Client<typeof Blobs>;
  readonly seen: Observer;
  /** Resolves when the other end has sent SETTINGS. */
  readonly ready: Promise<void>;
  /** Resolves with the reason when the session is closed. */
  readonly lost: Promise<ConnectError>;
}

export interface EndOptions
  extends Partial<Pick<SessionOptions, "identity" | "onSettings" | "onArriving" | "onLeaving">> {
  limits?: Partial<TunnelLimits>;
  messageBytes?: number;
  serves?: Partial<ServiceImpl<typeof Blobs>>;
  /** Interceptors around the served methods. */
  interceptors?: Interceptor[];
}

export interface Ends {
  readonly net: Pair;
  readonly dialler: End;
  readonly acceptor: End;
  /** Closes the socket. Throws the violations that the observers have recorded. */
  close(): void;
}

/** Opens two ends in memory, which call each other. Observers check all frames between them. */
export function openEnds(
  dialler: EndOptions = {},
  acceptor: EndOptions = {},
  options: PairOptions = {},
): Ends {
  const net = createSocketPair(options);
  const ends = [open(net, 0, dialler), open(net, 1, acceptor)] as const;
  return {
    net,
    dialler: ends[0],
    acceptor: ends[1],
    close: () => {
      ends[0].session.close(1000, "the test is over");
      for (const { seen } of ends) for (const fault of seen.faults) throw fault;
    },
  };
}

/** Opens one end over `net`; the test plays the other one. */
export function open(
  net: Pair,
  at: 0 | 1,
  { serves = {}, interceptors, messageBytes, ...rest }: EndOptions = {},
): End {
  const seen = new Observer(at === 0 ? 1 : 0);
  const { promise: lost, resolve } = withResolvers<ConnectError>();
  const { promise: ready, resolve: setReady } = withResolvers<void>();
  const session: Session = new Session(seen.watch(net.ends[at]), {
    isDialler: at === 0,
    ...rest,
    onSettings: (peer) => {
      setReady();
      rest.onSettings?.(peer);
    },
    answer: (...call) => dispatcher(...call),
    onClosed: (why, unsent) => {
      for (const { stream } of unsent) stream.events.onError(why);
      resolve(why);
    },
  });
  const router = interceptors && { interceptors };
  const dispatcher = createDispatcher((to) => to.service(Blobs, serves), { router }).on(() => session);
  const client = createClient(Blobs, createCaller(session, { messageBytes }));
  return { session, client, seen, ready, lost };
}

export function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((take) => {
    resolve = take;
  });
  return { promise, resolve };
}

/** Waits `count` turns of the event loop. Messages of the pair take turns, too, so a seed always gives the same run. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

export const blob = (size: number, fill = 7): { value: Uint8Array } => ({
  value: new Uint8Array(size).fill(fill),
});
