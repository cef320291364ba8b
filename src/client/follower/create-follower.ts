import type { Transport } from "@connectrpc/connect";
import { type CancelableIterator, cancelable } from "../../lib/cancelable-iterator.js";
import { openFor } from "../client-lifetime.js";
import { ConnectionStatus } from "../status/connection-status.js";
import type { Status } from "../status.js";

/** A stream and the status of its connection. */
export interface LoadedFollower<T> {
  readonly messages: CancelableIterator<T>;
  readonly status: Status;
}

/**
 * The items of `generate`, with a connection status. From the first step to the end they keep a Node process alive.
 * When the client that owns `transport` closes, they end as if the loop had been left.
 */
export function createFollower<T>(
  transport: Transport,
  signal: AbortSignal | undefined,
  generate: (signal: AbortSignal, status: ConnectionStatus) => AsyncGenerator<T, void, undefined>,
): LoadedFollower<T> {
  const status = new ConnectionStatus();
  let unregister = () => {};
  const messages = cancelable((signal) => generate(signal, status), {
    signal,
    onStart: () => {
      unregister = openFor(transport, () => messages.return());
      status.begin();
    },
    onEnd: (error) => {
      unregister();
      status.close(error);
    },
  });
  return { messages, status };
}
