import type { Transport } from "@connectrpc/connect";

type Unary = ReturnType<Transport["unary"]>;

/** A unary call on its way: what a test may look at, hold back, lose or answer itself. */
export interface OnItsWay {
  /** The method, as "TryLock". */
  method: string;
  message: Record<string, unknown>;
  timeoutMs: number | undefined;
  signal: AbortSignal | undefined;
  /** Lets it through to the server; resolves with the answer. */
  send(): Unary;
}

/** `transport` with `meet` in the way of every unary call. */
export function between(transport: Transport, meet: (call: OnItsWay) => Unary): Transport {
  return {
    unary(method, signal, timeoutMs, header, message, values) {
      const send = () => transport.unary(method, signal, timeoutMs, header, message, values);
      const call = {
        method: method.name,
        message: message as Record<string, unknown>,
        timeoutMs,
        signal,
        send,
      };
      return meet(call as OnItsWay) as ReturnType<typeof send>;
    },
    stream: (...args) => transport.stream(...args),
  };
}
