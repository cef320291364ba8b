import { type CallOptions, Code, ConnectError, type Transport } from "@connectrpc/connect";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { hasMark, noteMark } from "../rpc/server-mark.js";
import { generatedClient } from "./generated-client.js";

/**
 * Whether the server behind `transport` has Fairlead's extensions: as its answers so far have said, and before the
 * first one as a health check says, which succeeds on a healthy server. Where the server cannot be reached, its error
 * is thrown and nothing is learned.
 */
export async function hasExtensions(
  transport: Transport,
  signal?: AbortSignal,
  timeoutMs?: number,
): Promise<boolean> {
  const known = hasMark(transport);
  if (known !== undefined) return known;
  const refusal = await askServer(transport, {
    ...(signal && { signal }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  });
  if (refusal) noteMark(transport, refusal.metadata);
  return hasMark(transport) ?? false;
}

/**
 * Resolves once the server has answered a small call, with its error where it refused that; rejects where no answer
 * comes.
 */
export async function askServer(transport: Transport, call: CallOptions): Promise<ConnectError | undefined> {
  try {
    await generatedClient(Health, transport).check({}, call);
    return undefined;
  } catch (error) {
    if (!(error instanceof ConnectError) || UNREACHED.has(error.code) || isOwn(error)) throw error;
    return error;
  }
}

/** Whether the call failed on this side: what comes over the wire has headers, and no cause. */
const isOwn = ({ metadata, cause }: ConnectError): boolean =>
  [...metadata].length === 0 && cause !== undefined;

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
