import { createHash } from "node:crypto";
import type { Msg } from "@nats-io/transport-node";
import { delay } from "../../../lib/timer.js";
import type { PeerHandler, PeerMessaging } from "../../engine.js";
import { closedError } from "../shared/errors.js";
import { BroadcastReceiver, partBytesOf, splitBroadcast } from "./peers/broadcasts.js";
import type { PeerExchange, PeerLink } from "./peers/exchange.js";
import { decodePeerFrame, encodePeerFrame, type PeerFrame } from "./peers/frame.js";
import { IncomingRequest } from "./peers/incoming-request.js";
import { sendPeerRequest } from "./peers/outgoing-request.js";
import { ReceiveBudget } from "./peers/receive-budget.js";
import type { JetStreamSession } from "./session.js";
import { encodeToken } from "./subjects.js";

/** The most bytes of the bodies that arrive at the same time, of those with more than one part. */
const RECEIVED_BYTES = 64 * 1024 ** 2;

/** Longer names are hashed: a subject of NATS has at most 4 KiB. */
const MOST_NAME_CHARS = 256;

/** How long the messages that end requests may take to be sent: there may be no connection. */
const FLUSH_TIMEOUT_MS = 500;

/** The servers that serve a name are one queue group. */
const QUEUE = "peers";

/**
 * Messages between the servers of a cluster, over core NATS. A request is published to the queue group of its name with
 * the subject of the requester's exchange; the server that takes it opens an exchange of its own. Both have a subject
 * of their server's inbox. Bodies that do not fit in one message are split, and their receiver confirms each part.
 */
export class JetStreamPeers implements PeerMessaging {
  readonly id: string;
  readonly #session: JetStreamSession;
  readonly #exchanges = new Map<string, PeerExchange>();
  readonly #link: PeerLink;
  #opened = 0;

  constructor(session: JetStreamSession) {
    this.id = session.id;
    this.#session = session;
    const inbox = `${session.name}.s.i.${session.id}`;
    this.#link = {
      get partBytes() {
        return partBytesOf(session.nc.info?.max_payload ?? 1024 ** 2);
      },
      budget: new ReceiveBudget(RECEIVED_BYTES),
      open: (exchange) => this.#open(inbox, exchange),
      send: (subject, frame, replyTo) => this.#send(subject, frame, replyTo),
    };
    session.nc.subscribe(`${inbox}.*`, { callback: (_, message) => this.#receive(message) });
  }

  /** Ends all requests. To be called when the session has closed, before its connection does. */
  async close(): Promise<void> {
    for (const exchange of [...this.#exchanges.values()]) exchange.onClose(closedError("jetstream"));
    const flushed = new AbortController();
    const isFlushed = this.#session.nc.flush().catch(() => {});
    await Promise.race([isFlushed, delay(FLUSH_TIMEOUT_MS, flushed.signal)]);
    flushed.abort();
  }

  async serve(name: string, handler: PeerHandler): Promise<() => void> {
    this.#session.checkOpen();
    const subscription = this.#session.nc.subscribe(this.#subject("q", name), {
      queue: QUEUE,
      callback: (_, { data, reply }) => {
        const first = decodePeerFrame(data);
        if (first?.type !== "first" || !reply || this.#session.closing.aborted) return;
        new IncomingRequest({ link: this.#link, handler, replyTo: reply, first });
      },
    });
    // Requests that are under way to this server are still answered.
    return this.#started(() => void subscription.drain().catch(() => {}));
  }

  async request(name: string, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    this.#session.checkOpen();
    signal.throwIfAborted();
    const label = JSON.stringify(name);
    return sendPeerRequest({ link: this.#link, subject: this.#subject("q", name), label, body, signal });
  }

  async subscribe(name: string, listener: (body: Uint8Array) => void): Promise<() => void> {
    this.#session.checkOpen();
    const receiver = new BroadcastReceiver();
    const subscription = this.#session.nc.subscribe(`${this.#subject("b", name)}.*`, {
      callback: (_, { subject, data }) => {
        const sender = subject.slice(subject.lastIndexOf(".") + 1);
        const frame = sender === this.id ? undefined : decodePeerFrame(data);
        const body = frame && receiver.add(sender, frame);
        if (body) listener(body);
      },
    });
    return this.#started(() => subscription.unsubscribe());
  }

  broadcast(name: string, body: Uint8Array): void {
    const subject = `${this.#subject("b", name)}.${this.id}`;
    for (const frame of splitBroadcast(body, this.#link.partBytes)) this.#send(subject, frame);
  }

  /** Resolves with `end` when the cluster knows the new subscription. */
  async #started(end: () => void): Promise<() => void> {
    // If the connection is lost meanwhile, the client subscribes again with the next one.
    await this.#session.nc.flush().catch(() => {});
    this.#session.checkOpen();
    return end;
  }

  #open(inbox: string, exchange: PeerExchange): { subject: string; close: () => void } {
    const token = String(++this.#opened);
    this.#exchanges.set(token, exchange);
    return { subject: `${inbox}.${token}`, close: () => void this.#exchanges.delete(token) };
  }

  #receive({ subject, data, reply, headers }: Msg): void {
    const exchange = this.#exchanges.get(subject.slice(subject.lastIndexOf(".") + 1));
    const frame = decodePeerFrame(data);
    if (headers?.code === NO_RESPONDERS && data.length === 0) exchange?.onUnserved();
    else if (frame && exchange) exchange.onFrame(frame, reply);
    else if (frame && reply) this.#send(reply, { type: "cancel" });
  }

  #send(subject: string, frame: PeerFrame, reply?: string): void {
    if (this.#session.nc.isClosed()) return;
    this.#session.nc.publish(subject, encodePeerFrame(frame), reply === undefined ? {} : { reply });
  }

  #subject(kind: "q" | "b", name: string): string {
    const text = name.length > MOST_NAME_CHARS ? `#${createHash("sha256").update(name).digest("hex")}` : name;
    return `${this.#session.name}.s.${kind}.${encodeToken(text)}`;
  }
}

/** The status of a message of NATS that says that nobody has received a message. */
const NO_RESPONDERS = 503;
