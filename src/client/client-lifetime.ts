import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { onAbort } from "../lib/on-abort.js";

/** Calls off what was registered with openFor(). */
type Unregister = () => void;

const registries = new WeakMap<Transport, (end: () => unknown) => Unregister>();

/**
 * Registers something that lasts with the client whose transport this is, if it is one's: `end` is called when the
 * client closes. Throws `Code.Canceled` where it is closed already.
 */
export const openFor = (transport: Transport, end: () => unknown): Unregister =>
  registries.get(transport)?.(end) ?? (() => {});

/**
 * What belongs to one client. close() first ends what lasts, whose last calls still pass, then all calls under way of
 * its `scoped` transports; they and any further ones fail with `Code.Canceled`. At last it calls `release`.
 */
export function createClientLifetime(release: () => Promise<unknown>): {
  scoped: (transport: Transport) => Transport;
  open: (end: () => unknown) => Unregister;
  close: () => Promise<void>;
} {
  const ends = new Set<() => unknown>();
  const calls = new Set<AbortController>();
  const closed = new ConnectError("the client is closed", Code.Canceled);
  let closing: Promise<void> | undefined;

  const open = (end: () => unknown) => {
    if (closing) throw closed;
    ends.add(end);
    return () => ends.delete(end);
  };
  /** A signal that aborts with `signal` and when the client closes, until `done` is called. */
  const begin = (signal: AbortSignal | undefined) => {
    if (closing) throw closed;
    const call = new AbortController();
    const stop = onAbort(signal, () => call.abort(signal?.reason));
    calls.add(call);
    const done = () => {
      calls.delete(call);
      stop();
    };
    return [call.signal, done] as const;
  };
  const scoped = (transport: Transport): Transport => {
    const all: Transport = {
      async unary(method, outer, ...rest) {
        const [signal, done] = begin(outer);
        return transport.unary(method, signal, ...rest).finally(done);
      },
      async stream(method, outer, ...rest) {
        const [signal, done] = begin(outer);
        try {
          const response = await transport.stream(method, signal, ...rest);
          return { ...response, message: until(response.message, done) };
        } catch (error) {
          done();
          throw error;
        }
      },
    };
    registries.set(all, open);
    return all;
  };
  const end = async () => {
    // What these call at once is not refused: `closing` is set only then.
    await Promise.allSettled([...ends].map((end) => end()));
    for (const call of calls) call.abort(closed);
    await release();
  };
  return { scoped, open, close: () => (closing ??= end()) };
}

/** `messages`, with `done` called when they end or fail. Connect never leaves them before, its signals abort instead. */
function until<T>(messages: AsyncIterable<T>, done: () => void): AsyncIterable<T> {
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
