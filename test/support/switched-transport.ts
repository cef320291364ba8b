import { Code, ConnectError, type Transport } from "@connectrpc/connect";

/** A transport that can be switched off: streams break, and new ones fail until it is on again. */
export interface SwitchedTransport extends Transport {
  /** The number of streams that were opened. */
  readonly streams: number;
  off(): void;
  /** `to`: the transport from now on. Default: the same as before. */
  on(to?: Transport): void;
}

/** `transport` with a switch, which is on. */
export function switchedTransport(transport: Transport): SwitchedTransport {
  let switched = new AbortController();
  let streams = 0;
  return {
    unary: (...args) => transport.unary(...args),
    async stream(method, signal, ...rest) {
      switched.signal.throwIfAborted();
      streams++;
      const either = AbortSignal.any([switched.signal, ...(signal ? [signal] : [])]);
      return transport.stream(method, either, ...rest);
    },
    get streams() {
      return streams;
    },
    off: () => switched.abort(new ConnectError("the network is off", Code.Unavailable)),
    on(to = transport) {
      transport = to;
      switched = new AbortController();
    },
  };
}
