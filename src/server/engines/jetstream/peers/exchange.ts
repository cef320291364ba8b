import type { PeerFrame } from "./frame.js";
import type { ReceiveBudget } from "./receive-budget.js";

/** One side of an exchange: a request on its way, or one that is being answered. */
export interface PeerExchange {
  /** Called with each frame of the other side. `replyTo` is the other side's subject, if it has one yet. */
  onFrame(frame: PeerFrame, replyTo: string | undefined): void;
  /** Called when nobody has received a frame that was sent with a subject for replies. */
  onUnserved(): void;
  /** Called when the engine closes. */
  onClose(error: Error): void;
}

/** The connection of this server's exchanges to the other servers. */
export interface PeerLink {
  /** The bytes of a body in one frame. */
  readonly partBytes: number;
  readonly budget: ReceiveBudget;
  /** Opens an exchange. Returns its subject, and the function that closes it. */
  open(exchange: PeerExchange): { subject: string; close: () => void };
  /** Sends a frame. With `replyTo`, the exchange with that subject is told if nobody receives it. */
  send(subject: string, frame: PeerFrame, replyTo?: string): void;
}

/** How often a server that works on a request says so, after the first time, in milliseconds. */
export const WORKING_MS = 1000;

/** A request without a frame of its server for this long is lost, in milliseconds. */
export const LOST_MS = 5 * WORKING_MS;
