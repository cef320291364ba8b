import type { ConnectError } from "@connectrpc/connect";
import type { Limits } from "../config/config.js";
import { exhausted } from "../errors.js";
import type { Usage } from "./usage.js";

/** The limit of the configuration on each amount. */
const LIMITS = { calls: "streams", arrivingBytes: "arrivingBytes", leavingBytes: "leavingBytes" } as const;

/** An amount that is limited: open calls, bytes received of incomplete messages, bytes of answers not sent yet. */
export type Amount = keyof typeof LIMITS;

/** How much of each amount one holder may use, and the error of a call that would use more. */
export interface UsageBound {
  readonly most: Readonly<Record<Amount, number>>;
  refusal(amount: Amount): ConnectError;
}

/** A user of the limits: the server itself, a connection, a subject, or a group of calls. */
export interface Holder {
  readonly usage: Usage;
  readonly bound: UsageBound;
}

/** Whether the holder has so many bytes of unsent answers that no further call may begin. */
export const isFull = ({ usage, bound }: Holder): boolean => usage.leavingBytes >= bound.most.leavingBytes;

/** The bound on all calls of the server together. */
export function serverBound({ streams, arrivingBytes, leavingBytes }: Limits): UsageBound {
  const most = { calls: streams, arrivingBytes, leavingBytes };
  return { most, refusal: (amount) => exhausted(LIMITS[amount], most[amount], SERVER_REASONS[amount]) };
}

/** The bound on the calls of one connection: its share of the limits, and `connectionStreams` calls. */
export function connectionBound(limits: Limits): UsageBound {
  const { connectionStreams } = limits;
  const share = shareBound(limits, "connectionSharePercent", "the calls of this connection");
  return {
    most: { ...share.most, calls: Math.min(connectionStreams, share.most.calls) },
    refusal: (amount) =>
      amount === "calls" && connectionStreams <= share.most.calls
        ? exhausted("connectionStreams", connectionStreams, "as many calls of this connection are open")
        : share.refusal(amount),
  };
}

/** The limit `name` percent of each amount: at least one call, and at least as many bytes as one message may have. */
export function shareBound(
  limits: Limits,
  name: "connectionSharePercent" | "subjectSharePercent" | "anonymousSharePercent",
  holder: string,
): UsageBound {
  const part = (limit: keyof typeof UNITS, least: number) =>
    Math.max(Math.floor((limits[limit] * limits[name]) / 100), Math.min(least, limits[limit]));
  const most = {
    calls: part("streams", 1),
    arrivingBytes: part("arrivingBytes", limits.messageBytes),
    leavingBytes: part("leavingBytes", limits.messageBytes),
  };
  const refusal = (amount: Amount) => {
    const limit = LIMITS[amount];
    const share = `${limit} ${limits[limit]}: ${most[amount]} ${UNITS[limit]}`;
    return exhausted(name, limits[name], `${holder} have taken their share of ${share}`);
  };
  return { most, refusal };
}

const SERVER_REASONS: Record<Amount, string> = {
  calls: "as many calls of this server are open",
  arrivingBytes: "so much has arrived of messages that are not whole",
  leavingBytes: "so much waits of answers that nobody reads",
};

const UNITS = { streams: "calls", arrivingBytes: "bytes", leavingBytes: "bytes" };
