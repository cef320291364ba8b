import type { Transport } from "@connectrpc/connect";

type Unary = ReturnType<Transport["unary"]>;

/** A unary call before it is sent: a test can inspect, delay, drop or answer it. */
export interface InterceptedCall {
  /** The method, as "TryLock". */
  method: string;
  message: Record<string, unknown>;
  timeoutMs: number | undefined;
  signal: AbortSignal | undefined;
  /** Sends it to the server; resolves with the response. */
  send(): Unary;
}

/** `transport`, with every unary call handled by `handle`. */
export function intercept(transport: Transport, handle: (call: InterceptedCall) => Unary): Transport {
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
      return handle(call as InterceptedCall) as ReturnType<typeof send>;
    },
    stream: (...args) => transport.stream(...args),
  };
}
