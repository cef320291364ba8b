import type { Msg } from "@nats-io/transport-node";
import { utf8 } from "../../../../lib/utf8.js";
import type { Delivery } from "../../../engine.js";
import type { JetStreamSession } from "../session.js";

/**
 * How long the cluster waits for a heartbeat of a claimed event's server before it delivers the event again. It is
 * longer than an election, so that claims outlast one: 4 to 9 seconds, plus the time since the last heartbeat.
 */
export const ACK_WAIT_MS = 20_000;

/** How often heartbeats are sent for claimed events. */
const EXTEND_EVERY_MS = ACK_WAIT_MS / 4;

const ACK = utf8("+ACK");
const NAK = utf8("-NAK");
const TERM = utf8("+TERM");
const IN_PROGRESS = utf8("+WPI");

const NANOS_PER_MS = 1_000_000;

/** An event that the cluster has delivered to this server. */
export interface Claim {
  readonly value: Uint8Array;
  readonly attempt: number;
  /** Its sequence in the stream. */
  readonly sequence: number;
  /** The subject for answers. */
  readonly reply: string;
  readonly atMs: number;
}

/** Reads a delivered message. The subject for answers tells how often and from where it was delivered. */
export function claimOf({ data, reply = "" }: Msg): Claim {
  // $JS.ACK.<stream>.<consumer>.<attempt>.<sequence>…, in newer servers with domain and account before the stream.
  const tokens = reply.split(".");
  const at = tokens.length >= 11 ? 6 : 4;
  const [attempt, sequence] = [Number(tokens[at]), Number(tokens[at + 1])];
  return { value: data, attempt, sequence, reply, atMs: performance.now() };
}

/** The events that this server has claimed. The cluster is told that they are in progress, until they are answered. */
export class Claims {
  readonly #session: JetStreamSession;
  readonly #open = new Set<Claim>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(session: JetStreamSession) {
    this.#session = session;
  }

  add(claim: Claim): void {
    this.#open.add(claim);
    this.#timer ??= setInterval(() => this.#extend(), EXTEND_EVERY_MS).unref();
  }

  /**
   * The event for its consumer. `take` returns whether the claim may still be answered, and that it is answered now.
   * An answer resolves when the cluster has confirmed it. It is sent again until then: it is idempotent.
   */
  deliveryOf(claim: Claim, take: () => boolean): Delivery {
    const answer = async (body: Uint8Array) => {
      if (!take()) return;
      await this.#send(claim, body);
    };
    return {
      value: claim.value,
      attempt: claim.attempt,
      ack: () => answer(ACK),
      drop: () => answer(TERM),
      retry: (delayMs) => answer(delayMs > 0 ? delayedNak(delayMs) : NAK),
    };
  }

  /** Returns an event to the front of its group. Resolves when the cluster has confirmed it. */
  return(claim: Claim): Promise<void> {
    return this.#send(claim, NAK);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #send(claim: Claim, body: Uint8Array): Promise<void> {
    this.#open.delete(claim);
    if (this.#open.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    await this.#session.request(claim.reply, body);
  }

  #extend(): void {
    const { nc } = this.#session;
    if (nc.isClosed()) return;
    const beforeMs = performance.now() - EXTEND_EVERY_MS / 2;
    for (const { atMs, reply } of this.#open) if (atMs < beforeMs) nc.publish(reply, IN_PROGRESS);
  }
}

function delayedNak(delayMs: number): Uint8Array {
  const delay = Math.min(Math.ceil(delayMs * NANOS_PER_MS), Number.MAX_SAFE_INTEGER);
  return utf8(`-NAK ${JSON.stringify({ delay })}`);
}
