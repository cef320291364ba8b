import type { MsgHdrs } from "@nats-io/transport-node";
import { jitteredMs } from "../../../lib/backoff.js";
import { delay } from "../../../lib/timer.js";
import type { Logger } from "../../context.js";
import { EngineFault } from "../../engine.js";
import { directGet, type StoredMessage } from "./direct-get.js";
import { ApiResponseError } from "./errors.js";
import type { Header, PubAck, StoredAt } from "./message.js";
import { RETRY, type Requests } from "./requests.js";

/** The bytes of a response with one message: it has that one, however large. */
const FIRST_BYTES = 1;

/** A message or a batch whose outcome is sought. */
interface Sought {
  /** The id of the message, or of the batch and its last message. */
  id: string;
  /** A subject of the same stream, for the message that finds out. */
  fence: string;
  deadlineMs: number;
  /**
   * The condition on its own subject, if it has one: its first message comes right behind the sequence `expected`, and
   * its last one `ofLast` messages after that. Default: 0.
   */
  at?: { subject: string; expected: number; ofLast?: number };
}

/** Finds out whether messages were stored, if no response told. */
export class OutcomeFinder {
  readonly #requests: Requests;
  readonly #log: Logger;
  readonly #headersOf: (entries: Iterable<Header>) => MsgHdrs;

  constructor(requests: Requests, log: Logger, headersOf: (entries: Iterable<Header>) => MsgHdrs) {
    this.#requests = requests;
    this.#log = log;
    this.#headersOf = headersOf;
  }

  /**
   * Where the message with the id was stored; undefined if it was not and never will be: a message on a subject below
   * `fence` has taken its id. Fails as EngineFault "unavailable" if that cannot be found out.
   */
  async find(sought: Sought): Promise<StoredAt | undefined> {
    const { id, fence, deadlineMs, at } = sought;
    const subject = `${fence}.${id}`;
    const beforeFence = await this.#lastSequence(subject, deadlineMs);
    const { seq, duplicate, stream, attempts } = await this.#publishFence(subject, id, deadlineMs);
    if (duplicate) {
      // A fence that was sent again may be the duplicate of itself.
      const isBefore = attempts === 1 || seq <= beforeFence;
      if (isBefore || (await this.#subjectAt(stream, seq)) !== subject) return { sequence: seq };
    }
    // Nodes forget ids after two minutes, and a leader may lose one that it notes after it has stored the message.
    try {
      return at && (await this.#findBehind(at, id, { subject, stream, seq }, deadlineMs));
    } finally {
      this.#removeFence(stream, seq);
    }
  }

  async #publishFence(
    subject: string,
    id: string,
    deadlineMs: number,
  ): Promise<PubAck & { attempts: number }> {
    const headers = this.#headersOf([["Nats-Msg-Id", id]]);
    const data = new Uint8Array(0);
    let attempts = 0;
    const send = async (timeoutMs: number) => {
      attempts++;
      return this.#requests.parse<PubAck>(await this.#requests.send({ subject, data, headers, timeoutMs }));
    };
    try {
      return { ...(await this.#requests.repeat(send, subject, { deadlineMs })), attempts };
    } catch (error) {
      // A full cluster takes no fence either, and may have stored the message.
      const isRefused =
        error instanceof ApiResponseError || (error instanceof EngineFault && error.reason === "full");
      throw isRefused ? this.#requests.unavailable(error) : error;
    }
  }

  /** Finds the message by its place, right behind `expected`. */
  async #findBehind(
    { subject, expected, ofLast = 0 }: NonNullable<Sought["at"]>,
    id: string,
    fence: { subject: string; stream: string; seq: number },
    deadlineMs: number,
  ): Promise<StoredAt | undefined> {
    const { stream } = fence;
    for (let failures = 1; performance.now() < deadlineMs; failures++) {
      const lasts = await directGet(this.#requests, stream, { multi_last: [subject, fence.subject] });
      // A replica that is behind the fence may miss the message.
      if (lasts.upToSequence >= fence.seq) {
        const last = lasts.messages.find((message) => message.subject === subject);
        if (!last || last.sequence <= expected) return undefined;
        const request = { seq: expected + 1, next_by_subj: subject, batch: 1, max_bytes: FIRST_BYTES };
        const [first] = (await directGet(this.#requests, stream, request)).messages;
        if (first) return hasId(first, id) ? { sequence: first.sequence + ofLast } : undefined;
      }
      await delay(jitteredMs(RETRY, failures), this.#requests.closing);
    }
    throw this.#requests.unavailable(new Error("no replica was up to date"));
  }

  /** The sequence of the last message of the stream that has `subject`. */
  async #lastSequence(subject: string, deadlineMs: number): Promise<number> {
    const named = await this.#requests.api<{ streams: string[] | null }>(
      "STREAM.NAMES",
      { subject },
      { deadlineMs },
    );
    const method = `STREAM.INFO.${named.streams?.[0]}`;
    const info = await this.#requests.api<{ state: { last_seq: number } }>(method, undefined, { deadlineMs });
    return info.state.last_seq;
  }

  /** The subject of the message with this sequence. */
  async #subjectAt(stream: string, seq: number): Promise<string> {
    try {
      const { message } = await this.#requests.api<{ message: { subject: string } }>(
        `STREAM.MSG.GET.${stream}`,
        { seq },
      );
      return message.subject;
    } catch (error) {
      // It may have been replaced since, or it was a fence in a stream that keeps only messages with a consumer.
      if (error instanceof ApiResponseError) throw this.#requests.unavailable(error);
      throw error;
    }
  }

  /** Removes a message that has done its work. If that fails, it stays and does no harm. */
  #removeFence(stream: string, seq: number): void {
    this.#requests.api(`STREAM.MSG.DELETE.${stream}`, { seq, no_erase: true }).catch((error: unknown) => {
      this.#log.debug({ err: error }, "a message that found out the outcome of a publish was not removed");
    });
  }
}

/** Whether this is the message with the id, or one of the batch with the id. */
const hasId = ({ headers }: StoredMessage, id: string): boolean =>
  headers.get("Nats-Msg-Id") === id || headers.get("Nats-Batch-Id") === id;
