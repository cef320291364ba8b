import { isFieldSet, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { onAbort } from "../lib/on-abort.js";
import { runAfter } from "../lib/timer.js";
import { onWake } from "../lib/wake-events.js";
import { HEARTBEAT_HEADER } from "./extension-headers.js";

/** How often a client requests a heartbeat. It reconnects within 10 s after a connection was lost without a signal. */
const EVERY_MS = 2500;

/** How long the headers of an answer may take if the server sends them at once. It doubles with each failure. */
const OPENING_MS = 2000;
const MAX_OPENING_MS = 16_000;

/** The methods whose headers are known only with the first message, so that no heartbeat precedes it. */
export const LATE_HEADERS: ReadonlySet<string> = new Set(["GetFile"]);

/** A stream is lost after so many heartbeat intervals without a message. */
const MAX_MISSED = 2.5;

/** A timer that fires so late means that the process was suspended, not that the network was silent. */
const SUSPENDED_MS = 1000;

/**
 * `transport` with heartbeats: a stream of answers fails with `unavailable` if a server that sends heartbeats is silent
 * for too long. The heartbeats are removed from the messages. Does not keep a Node process alive.
 */
export function withStreamWatchdog(transport: Transport, everyMs = EVERY_MS): Transport {
  // Undefined until a server has confirmed heartbeats: any other may take its time for the first headers.
  let confirmedMs: number | undefined;
  let openingMs = OPENING_MS;
  return {
    unary: (...args) => transport.unary(...args),
    async stream(method, signal, timeoutMs, header, input, values) {
      if (method.methodKind === "client_streaming") {
        return transport.stream(method, signal, timeoutMs, header, input, values);
      }
      const headers = new Headers(header);
      headers.set(HEARTBEAT_HEADER, String(everyMs));
      const call = new AbortController();
      const stopListening = onAbort(signal, () => call.abort(signal?.reason));
      const onLost = (error: ConnectError) => {
        stopListening();
        call.abort(error);
      };
      try {
        const opening = transport.stream(method, call.signal, timeoutMs, headers, input, values);
        const isPrompt = confirmedMs !== undefined && !LATE_HEADERS.has(method.name);
        const response = await withLimit(opening, isPrompt ? openingMs : undefined, (error) => {
          openingMs = Math.min(openingMs * 2, MAX_OPENING_MS);
          onLost(error);
        });
        openingMs = OPENING_MS;
        const intervalMs = Number(response.header.get(HEARTBEAT_HEADER));
        const hasHeartbeats = intervalMs > 0;
        if (hasHeartbeats) confirmedMs = intervalMs;
        const isHeartbeat = (message: unknown) =>
          hasHeartbeats && method.output.fields.every((field) => !isFieldSet(message as Message, field));
        const limitMs = hasHeartbeats ? intervalMs * MAX_MISSED : undefined;
        const wait = <T>(step: Promise<T>) => withLimit(step, limitMs, onLost);
        const message = withoutHeartbeats(response.message, { wait, isHeartbeat, onEnd: stopListening });
        return { ...response, message };
      } catch (error) {
        stopListening();
        throw error;
      }
    },
  };
}

/** `messages` without heartbeats. Waits for each step as `wait` does, and calls `onEnd` at the end of the stream. */
function withoutHeartbeats<T>(
  messages: AsyncIterable<T>,
  {
    wait,
    isHeartbeat,
    onEnd,
  }: {
    wait<R>(step: Promise<R>): Promise<R>;
    isHeartbeat(message: unknown): boolean;
    onEnd(): void;
  },
): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const inner = messages[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            for (;;) {
              const step = await wait(inner.next());
              if (step.done) onEnd();
              if (step.done || !isHeartbeat(step.value)) return step;
            }
          } catch (error) {
            onEnd();
            throw error;
          }
        },
        async return(value) {
          onEnd();
          return (await inner.return?.(value)) ?? { done: true, value: undefined };
        },
      };
    },
  };
}

/** Settles as `step` does, but rejects after `limitMs`, and calls `onLost` before. Undefined: no limit. */
function withLimit<T>(
  step: Promise<T>,
  limitMs: number | undefined,
  onLost: (error: ConnectError) => void,
): Promise<T> {
  if (limitMs === undefined) return step;
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    const endMs = startMs + limitMs;
    let stopTimer = () => {};
    const watch = (delayMs: number) => {
      stopTimer();
      const dueMs = performance.now() + delayMs;
      stopTimer = runAfter(delayMs, () => {
        const nowMs = performance.now();
        // Messages may have arrived while the process was suspended, and are not read yet.
        if (nowMs - dueMs > SUSPENDED_MS) return watch(limitMs / 2);
        const text = `the connection was lost: nothing was heard for ${Math.round(nowMs - startMs)} ms`;
        const error = new ConnectError(text, Code.Unavailable);
        settle();
        onLost(error);
        reject(error);
      });
    };
    const stopWake = onWake(() => watch(Math.max(0, Math.min(endMs - performance.now(), limitMs / 2))));
    const settle = () => {
      stopTimer();
      stopWake();
    };
    watch(limitMs);
    step.then(resolve, reject).finally(settle);
  });
}
