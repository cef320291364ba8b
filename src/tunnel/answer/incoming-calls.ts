import { Code } from "@connectrpc/connect";
import { Stream, type StreamEvents } from "../flow/stream.js";
import type { StreamTable } from "../flow/stream-table.js";
import type { AnswerCall } from "../session/options.js";
import { type HeaderList, OK_STATUS } from "../wire/frame.js";
import type { CheckMessage } from "../wire/limits.js";
import type { MethodNumbers } from "../wire/method-numbers.js";
import { ResetFlood } from "./reset-flood.js";

export interface IncomingCallsOptions {
  readonly streams: StreamTable;
  readonly methods: MethodNumbers;
  /** The most calls that may be open. */
  readonly maxCalls: number;
  readonly checkMessage: CheckMessage;
  /** Attaches a new stream to the session. */
  readonly attach: (stream: Stream) => void;
  readonly answer: AnswerCall;
  /** Work on a call has begun or ended. */
  readonly onRunningChanged: () => void;
}

/**
 * The calls of the other end: accepts them up to a limit, and counts those that are open and those that are worked on.
 */
export class IncomingCalls {
  readonly #options: IncomingCallsOptions;
  readonly #resets = new ResetFlood();
  #openCount = 0;
  #runningCount = 0;

  constructor(options: IncomingCallsOptions) {
    this.#options = options;
  }

  /** Whether any call is worked on. */
  get hasRunning(): boolean {
    return this.#runningCount > 0;
  }

  /** Receives a CALL frame. */
  receive(id: number, method: number | string, timeoutMs: number | undefined, header: HeaderList): void {
    const { streams, methods, checkMessage, maxCalls, attach, answer, onRunningChanged } = this.#options;
    streams.checkRemoteId(id);
    const path = methods.pathOf(method);
    // Calls after our GOAWAY are made again on another session.
    if (streams.hasSentGoaway) return;
    const stream = new Stream(NO_EVENTS, checkMessage, true);
    streams.addRemote(id, stream);
    attach(stream);
    this.#openCount++;
    if (!this.#mayRunMore) {
      const text = `too many calls: at most ${maxCalls} at once`;
      stream.end({ ...OK_STATUS, code: Code.ResourceExhausted, text });
      return;
    }
    const settle = this.#startWork();
    onRunningChanged();
    answer({ path, timeoutMs, header }, stream, settle);
  }

  /** A call is not open any more. */
  close(): void {
    this.#openCount--;
  }

  /** A call was reset by its caller. Throws a ProtocolError if that happens too often. */
  countReset(): void {
    this.#resets.count();
  }

  /** Reset calls count as long as they are worked on, with a limit twice as high. */
  get #mayRunMore(): boolean {
    const { maxCalls } = this.#options;
    return this.#openCount <= maxCalls && this.#runningCount < maxCalls * 2;
  }

  /** Returns the function to call when the work has ended. */
  #startWork(): () => void {
    this.#runningCount++;
    let isSettled = false;
    return () => {
      if (isSettled) return;
      isSettled = true;
      this.#runningCount--;
      this.#options.onRunningChanged();
    };
  }
}

const NO_EVENTS: StreamEvents = { onMessage() {}, onEnd() {}, onError() {}, onRefused() {} };
