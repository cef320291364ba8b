import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { onAbort } from "../lib/on-abort.js";

/** Removes a registration of openFor(). */
type Unregister = () => void;

const registries = new WeakMap<Transport, (end: () => unknown) => Unregister>();

/**
 * Registers a long-lived object with the client that `transport` belongs to, if any: `end` is called when the client
 * closes. Throws `Code.Canceled` if the client is closed.
 */
export const openFor = (transport: Transport, end: () => unknown): Unregister =>
  registries.get(transport)?.(end) ?? (() => {});

/** Shared by calls that have no signal of their own: a controller for each would cost as much as the call. */
class SharedController extends AbortController {
  started = 0;
  ended = 0;

  /** Few share it: Node removes a listener by going through all of them. */
  get hasRoom(): boolean {
    return this.started < 32;
  }
}

/**
 * The long-lived objects and pending calls of one client. close() first ends the objects, whose last calls still
 * succeed. Then pending and later calls of the `scoped` transports fail with `Code.Canceled`. At last it calls
 * `release`.
 */
export function createClientLifetime(release: () => Promise<unknown>): {
  scoped: (transport: Transport) => Transport;
  open: (end: () => unknown) => Unregister;
  close: () => Promise<void>;
} {
  const ends = new Set<() => unknown>();
  const calls = new Set<SharedController>();
  const closed = new ConnectError("the client is closed", Code.Canceled);
  let closing: Promise<void> | undefined;

  const open = (end: () => unknown) => {
    if (closing) throw closed;
    ends.add(end);
    return () => ends.delete(end);
  };
  let shared: SharedController | undefined;
  /** A signal that aborts with `signal` and when the client closes, until `done` is called. */
  const beginCall = (signal: AbortSignal | undefined) => {
    if (closing) throw closed;
    const call = !signal && shared?.hasRoom ? shared : new SharedController();
    if (!signal) shared = call;
    const stopListening = onAbort(signal, () => call.abort(signal?.reason));
    calls.add(call);
    call.started++;
    const done = () => {
      if (++call.ended === call.started) calls.delete(call);
      stopListening();
    };
    return [call.signal, done] as const;
  };
  const scoped = (transport: Transport): Transport => {
    const scopedTransport: Transport = {
      async unary(method, outer, ...rest) {
        const [signal, done] = beginCall(outer);
        return transport.unary(method, signal, ...rest).finally(done);
      },
      async stream(method, outer, ...rest) {
        const [signal, done] = beginCall(outer);
        try {
          const response = await transport.stream(method, signal, ...rest);
          return { ...response, message: withEnd(response.message, done) };
        } catch (error) {
          done();
          throw error;
        }
      },
    };
    registries.set(scopedTransport, open);
    return scopedTransport;
  };
  const end = async () => {
    // `closing` is not set yet while the ends start, so their first calls are not refused.
    await Promise.allSettled([...ends].map((end) => end()));
    for (const call of calls) call.abort(closed);
    await release();
  };
  return { scoped, open, close: () => (closing ??= end()) };
}

/** Calls `done` when `messages` end or fail. Connect never calls return() on them; it aborts the signal instead. */
function withEnd<T>(messages: AsyncIterable<T>, done: () => void): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const inner = messages[Symbol.asyncIterator]();
      const ended = (step: IteratorResult<T>) => {
        if (step.done) done();
        return step;
      };
      const failed = (error: unknown) => {
        done();
        throw error;
      };
      return { next: () => inner.next().then(ended, failed) };
    },
  };
}
