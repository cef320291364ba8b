import { isFieldSet, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { onAbort } from "../lib/on-abort.js";
import { runAfter } from "../lib/timer.js";
import { onWake } from "../lib/wake-events.js";
import { HEARTBEAT_HEADER } from "./extension-headers.js";

/** How often a client asks for a sign of life. Followers are back within 10 s after a connection died without a word. */
const EVERY_MS = 2500;

/** How long the headers of an answer may take where the server sends them at once; twice as long after each time in vain. */
const OPENING_MS = 2000;
const LONGEST_OPENING_MS = 16_000;

/** The streams whose headers tell what is known only with the first message: there is no sign of life before it. */
export const LATE_HEADERS: ReadonlySet<string> = new Set(["GetFile"]);

/** After how many times of that a stream is taken for lost. */
const MISSED = 2.5;

/** A timer that fires so late tells of a process that was held up, not of the network. */
const LATE_MS = 1000;

/**
 * `transport`, whose streams of answers fail as `unavailable` where a server that sends signs of life has been silent
 * for too long. The signs themselves are not passed on. Keeps no Node process alive.
 */
export function withStreamWatchdog(transport: Transport, everyMs = EVERY_MS): Transport {
  // Of a server that has not said so yet, the first headers may take as long as they like.
  let beatMs: number | undefined;
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
      const over = onAbort(signal, () => call.abort(signal?.reason));
      const lost = (error: ConnectError) => {
        over();
        call.abort(error);
      };
      try {
        const opening = transport.stream(method, call.signal, timeoutMs, headers, input, values);
        const isPrompt = beatMs !== undefined && !LATE_HEADERS.has(method.name);
        const response = await heard(opening, isPrompt ? openingMs : undefined, lost, () => {
          openingMs = Math.min(openingMs * 2, LONGEST_OPENING_MS);
        });
        openingMs = OPENING_MS;
        const keptMs = Number(response.header.get(HEARTBEAT_HEADER));
        if (keptMs > 0) beatMs = keptMs;
        const isBeat = (message: unknown) =>
          keptMs > 0 && method.output.fields.every((field) => !isFieldSet(message as Message, field));
        const wait = <T>(step: Promise<T>) => heard(step, keptMs > 0 ? keptMs * MISSED : undefined, lost);
        return { ...response, message: alive(response.message, { wait, isBeat, over }) };
      } catch (error) {
        over();
        throw error;
      }
    },
  };
}

/** `messages` without those that are only a sign of life, each of which is waited for as `wait` does. */
function alive<T>(
  messages: AsyncIterable<T>,
  {
    wait,
    isBeat,
    over,
  }: {
    wait<R>(step: Promise<R>): Promise<R>;
    isBeat(message: unknown): boolean;
    over(): void;
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
              if (step.done) over();
              if (step.done || !isBeat(step.value)) return step;
            }
          } catch (error) {
            over();
            throw error;
          }
        },
        async return(value) {
          over();
          return (await inner.return?.(value)) ?? { done: true, value: undefined };
        },
      };
    },
  };
}

/** Settles as `step` does, or fails where it takes longer than `limitMs`, after `lost` was told. */
function heard<T>(
  step: Promise<T>,
  limitMs: number | undefined,
  lost: (error: ConnectError) => void,
  onLost = () => {},
): Promise<T> {
  if (limitMs === undefined) return step;
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    const endMs = startMs + limitMs;
    let stop = () => {};
    const watch = (delayMs: number) => {
      stop();
      const dueMs = performance.now() + delayMs;
      stop = runAfter(delayMs, () => {
        const nowMs = performance.now();
        // What came meanwhile is still to be read.
        if (nowMs - dueMs > LATE_MS) return watch(limitMs / 2);
        const text = `the connection was lost: nothing was heard for ${Math.round(nowMs - startMs)} ms`;
        const error = new ConnectError(text, Code.Unavailable);
        settle();
        onLost();
        lost(error);
        reject(error);
      });
    };
    const off = onWake(() => watch(Math.max(0, Math.min(endMs - performance.now(), limitMs / 2))));
    const settle = () => {
      stop();
      off();
    };
    watch(limitMs);
    step.then(resolve, reject).finally(settle);
  });
}
