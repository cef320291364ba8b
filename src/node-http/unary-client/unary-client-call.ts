import type { OutgoingHttpHeaders } from "node:http";
import { Code, ConnectError, type ContextValues } from "@connectrpc/connect";
import { runAfter } from "../../lib/timer.js";
import { canceled } from "../../rpc/canceled.js";
import { type CallLimits, observe } from "../../rpc/dispatch/call-scope.js";
import { needsNewConnection } from "../../rpc/new-connection.js";
import { markUnprocessed } from "../../rpc/unprocessed.js";
import type { Http2Connection } from "../http2-connection.js";
import type { Http2Sessions, WaitingCall } from "../http2-sessions.js";
import { MOST_TRIES, resendDelayMs } from "../resend.js";
import type { RawResponse } from "./response-format.js";
import { type BrokenStream, UnaryStream, type UnaryStreamEvents } from "./unary-stream.js";

/** The options of one call. */
export interface CallParts extends CallLimits {
  /** The milliseconds until its deadline, also if its signal aborts then. */
  readonly remainingMs: number | undefined;
  readonly contextValues: ContextValues | undefined;
}

/** A request as it goes over the wire. */
export interface RawRequest {
  readonly headers: OutgoingHttpHeaders;
  readonly body: Uint8Array;
  readonly isEnveloped: boolean;
  readonly readMaxBytes: number;
}

/** The difference that the timers of two machines may have. */
const CLOCK_SLACK_MS = 5;

/**
 * One unary call: waits for a session that takes it, sends it, and sends it again if the server certainly has not
 * processed it. A signal is listened to, and a timer started, only if the caller asks for it.
 */
export class UnaryClientCall implements UnaryStreamEvents, WaitingCall {
  readonly response: Promise<RawResponse>;
  readonly #sessions: Http2Sessions;
  readonly #request: RawRequest;
  readonly #parts: CallParts;
  readonly #startMs: number;
  #resolve!: (response: RawResponse) => void;
  #rejectResponse!: (error: unknown) => void;
  #stream: UnaryStream | undefined;
  /** Ends the wait before the next try. */
  #stopBackoff: (() => void) | undefined;
  #stopObserving = (): void => {};
  #tries = 0;

  constructor(sessions: Http2Sessions, request: RawRequest, parts: CallParts) {
    this.#sessions = sessions;
    this.#request = request;
    this.#parts = parts;
    const { signal, remainingMs } = parts;
    this.#startMs = remainingMs === undefined ? 0 : performance.now();
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#rejectResponse = reject;
    });
    if (signal?.aborted) {
      this.#fail(canceled(signal));
      return;
    }
    this.#stopObserving = observe(parts, (reason) => this.#cancel(ConnectError.from(reason, Code.Canceled)));
    this.#try();
  }

  completed(response: RawResponse): void {
    this.#settle();
    this.#resolve(response);
  }

  broken({ error, isRefused }: BrokenStream): void {
    this.#stream = undefined;
    if (isRefused && this.#tries < MOST_TRIES) {
      // The first time at once: a server that refuses again may be busy.
      if (this.#tries === 1) this.#try();
      else this.#stopBackoff = runAfter(resendDelayMs(this.#tries - 1), () => this.#try());
      return;
    }
    if (isRefused) markUnprocessed(error);
    this.#fail(this.#isPastDeadline ? deadlinePassed(error) : error);
  }

  #try(): void {
    this.#tries++;
    this.#sessions.enqueue(this, this.#parts.contextValues?.get(needsNewConnection) ?? false);
  }

  // WaitingCall

  begin(connection: Http2Connection): void {
    const { headers, body } = this.#request;
    const call = connection.open(headers);
    this.#stream = new UnaryStream(connection, call, this.#request, this);
    connection.send(call.stream, body);
  }

  reject(error: unknown): void {
    // Headers that HTTP/2 does not allow, for instance.
    this.#fail(ConnectError.from(error, Code.Internal));
  }

  #cancel(error: ConnectError): void {
    this.#stopBackoff?.();
    this.#sessions.leave(this);
    this.#stream?.cancel();
    this.#fail(error);
  }

  #fail(error: unknown): void {
    this.#settle();
    this.#rejectResponse(error);
  }

  #settle(): void {
    this.#stopObserving();
  }

  /** Servers reset a stream at its deadline, which may be noticed before the timer here. */
  get #isPastDeadline(): boolean {
    const { remainingMs } = this.#parts;
    return remainingMs !== undefined && performance.now() - this.#startMs >= remainingMs - CLOCK_SLACK_MS;
  }
}

const deadlinePassed = (cause: unknown): ConnectError =>
  new ConnectError("the deadline has passed", Code.DeadlineExceeded, undefined, undefined, cause);
