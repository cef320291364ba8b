import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { Runtime } from "../../gen/runtime/hello/spec/proto/runtime/v1/runtime_pb.js";
import { callsOf } from "./calls.js";

/** Which transports lead to a server with Fairlead's extensions: learned once, from the mark on its answers. */
const learned = new WeakMap<Transport, boolean>();

/**
 * Whether the server behind `transport` has Fairlead's extensions. One small call tells, the first time; where the
 * server cannot be reached, its error is thrown and nothing is learned.
 */
export async function hasExtensions(
  transport: Transport,
  signal?: AbortSignal,
  timeoutMs?: number,
): Promise<boolean> {
  const known = learned.get(transport);
  if (known !== undefined) return known;
  let headers: Headers | undefined;
  const onHeader = (header: Headers) => {
    headers = header;
  };
  try {
    await callsOf(Runtime, transport).sayHello(
      {},
      { onHeader, ...(signal && { signal }), ...(timeoutMs && { timeoutMs }) },
    );
  } catch (error) {
    if (!(error instanceof ConnectError) || UNREACHED.has(error.code)) throw error;
    headers = error.metadata;
  }
  const answer = headers?.has("fairlead-server") ?? false;
  learned.set(transport, answer);
  return answer;
}

const UNREACHED = new Set([Code.Unavailable, Code.Canceled, Code.DeadlineExceeded]);

/** Fails with `unimplemented` where the server has no extensions; `what` says what was asked for in vain. */
export async function needExtensions(
  transport: Transport,
  what: string,
  signal?: AbortSignal,
  timeoutMs?: number,
): Promise<void> {
  if (await hasExtensions(transport, signal, timeoutMs)) return;
  throw new ConnectError(
    `${what}: this server cannot do it, only one with Fairlead's extensions`,
    Code.Unimplemented,
  );
}
