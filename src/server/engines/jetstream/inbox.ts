import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/transport-node";

/** How often requests are checked for their timeouts. */
const SWEEP_MS = 50;

/** There was no reply to a request, so its outcome is not known. */
export class NoReplyError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NoReplyError";
  }
}

/** A request, for the replies that collect() returns. */
export interface InboxRequest {
  subject: string;
  data: Uint8Array;
  headers?: MsgHdrs;
  /** How long the last reply may take, in milliseconds. */
  timeoutMs: number;
}

interface Pending {
  replies: Msg[];
  isLast: (reply: Msg) => boolean;
  resolve: (replies: Msg[]) => void;
  reject: (error: Error) => void;
  expiresAtMs: number;
}

/**
 * The inbox of all of a server's requests. They share one subscription and one timer, so that a request costs little,
 * and one may have several replies.
 */
export class ReplyInbox {
  readonly #nc: NatsConnection;
  readonly #prefix: string;
  readonly #pending = new Map<string, Pending>();
  #requests = 0;
  #sweep: NodeJS.Timeout | undefined;

  /** `id` is a token that no other inbox has. */
  constructor(nc: NatsConnection, id: string) {
    this.#nc = nc;
    this.#prefix = `_INBOX.${id}.`;
    nc.subscribe(`${this.#prefix}*`, {
      callback: (error, message) => {
        if (error) this.fail(error);
        else this.#receive(message);
      },
    });
  }

  /** Sends a request and resolves with its reply. Fails with a NoReplyError if no reply comes in time. */
  async request(request: InboxRequest): Promise<Msg> {
    const [reply] = await this.collect(request, () => true);
    return reply as Msg;
  }

  /** Sends a request and resolves with its replies, in order, when `isLast` returns true for one. */
  collect(
    { subject, data, headers, timeoutMs }: InboxRequest,
    isLast: (reply: Msg) => boolean,
  ): Promise<Msg[]> {
    const token = (this.#requests++).toString(36);
    const reply = this.#prefix + token;
    return new Promise((resolve, reject) => {
      this.#nc.publish(subject, data, headers ? { headers, reply } : { reply });
      const expiresAtMs = performance.now() + timeoutMs;
      this.#pending.set(token, { replies: [], isLast, resolve, reject, expiresAtMs });
      this.#sweep ??= setInterval(this.#expire, SWEEP_MS).unref();
    });
  }

  /** Fails all requests, as their replies will not come. */
  fail({ message }: Error): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(new NoReplyError(message));
  }

  #receive(message: Msg): void {
    const token = message.subject.slice(this.#prefix.length);
    const pending = this.#pending.get(token);
    if (!pending) return;
    const { replies, isLast, resolve, reject } = pending;
    if (replies.length === 0 && message.data.length === 0 && message.headers?.code === 503) {
      this.#pending.delete(token);
      reject(new NoReplyError("no server of the cluster answers the request"));
      return;
    }
    replies.push(message);
    if (!isLast(message)) return;
    this.#pending.delete(token);
    resolve(replies);
  }

  readonly #expire = (): void => {
    const nowMs = performance.now();
    for (const [token, { expiresAtMs, reject }] of this.#pending) {
      if (expiresAtMs > nowMs) continue;
      this.#pending.delete(token);
      reject(new NoReplyError("the cluster did not reply in time"));
    }
    if (this.#pending.size > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  };
}
