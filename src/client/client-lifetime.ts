import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { mapMessages } from "../lib/map-messages.js";
import { onAbort } from "../lib/on-abort.js";
import { SharedController } from "../lib/shared-signal.js";

/** Removes a registration of openFor(). */
type Unregister = () => void;

const registries = new WeakMap<Transport, (end: () => unknown) => Unregister>();

/**
 * Registers a long-lived object with the client that `transport` belongs to, if any: `end` is called when the client
 * closes. Throws `Code.Canceled` if the client is closed.
 */
export const openFor = (transport: Transport, end: () => unknown): Unregister =>
  registries.get(transport)?.(end) ?? (() => {});

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
  /** For the calls: their own signals, if they have one, abort with this one. */
  const ended = new SharedController();
  const closed = new ConnectError("the client is closed", Code.Canceled);
  let closing: Promise<void> | undefined;

  const checkOpen = () => {
    if (closing) throw closed;
  };
  const open = (end: () => unknown) => {
    checkOpen();
    ends.add(end);
    return () => ends.delete(end);
  };
  /** A signal that aborts with `signal` and when the client closes, until the second result is called. */
  const linkSignal = (signal: AbortSignal | undefined) => {
    const call = new AbortController();
    const stops = [signal, ended.signal].map((each) => onAbort(each, () => call.abort(each?.reason)));
    return [call.signal, () => stops.forEach((stop) => void stop())] as const;
  };
  const scoped = (transport: Transport): Transport => {
    const scopedTransport: Transport = {
      async unary(method, outer, ...rest) {
        checkOpen();
        // A controller for each call would cost as much as the call.
        const [signal, done] = outer ? linkSignal(outer) : [ended.signal];
        const response = transport.unary(method, signal, ...rest);
        return done ? response.finally(done) : response;
      },
      async stream(method, outer, ...rest) {
        checkOpen();
        const [signal, done] = linkSignal(outer);
        const onStep = <T>(step: IteratorResult<T>) => {
          if (step.done) done();
          return step;
        };
        const onError = async (error: unknown) => {
          done();
          throw error;
        };
        try {
          const response = await transport.stream(method, signal, ...rest);
          // Connect never calls return() on the messages; it aborts the signal instead.
          return { ...response, message: mapMessages(response.message, onStep, onError) };
        } catch (error) {
          return onError(error);
        }
      },
    };
    registries.set(scopedTransport, open);
    return scopedTransport;
  };
  const end = async () => {
    // `closing` is not set yet while the ends start, so their first calls are not refused.
    await Promise.allSettled([...ends].map((end) => end()));
    ended.abort(closed);
    await release();
  };
  return { scoped, open, close: () => (closing ??= end()) };
}
