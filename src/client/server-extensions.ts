import { type CallOptions, Code, ConnectError, type Transport } from "@connectrpc/connect";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { hasMark, noteMark } from "../rpc/server-mark.js";
import { generatedClient } from "./generated-client.js";

/**
 * Whether the server behind `transport` has Fairlead's extensions, according to its answers so far. Before the first
 * answer, sends a health check. Throws its error if the server cannot be reached.
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

/** Sends a health check. Resolves when the server answers, with its error if it refuses; rejects without an answer. */
export async function askServer(transport: Transport, call: CallOptions): Promise<ConnectError | undefined> {
  try {
    await generatedClient(Health, transport).check({}, call);
    return undefined;
  } catch (error) {
    if (!(error instanceof ConnectError) || UNREACHED.has(error.code) || isLocal(error)) throw error;
    return error;
  }
}

/** Whether the client itself made the error: errors of a server have headers, and no cause. */
const isLocal = ({ metadata, cause }: ConnectError): boolean =>
  [...metadata].length === 0 && cause !== undefined;

const UNREACHED = new Set([Code.Unavailable, Code.Canceled, Code.DeadlineExceeded]);

/** Fails with `unimplemented` if the server has no extensions. `failure` begins the message. */
export async function needExtensions(
  transport: Transport,
  failure: string,
  signal?: AbortSignal,
  timeoutMs?: number,
): Promise<void> {
  if (await hasExtensions(transport, signal, timeoutMs)) return;
  throw new ConnectError(
    `${failure}: this server cannot do it, only one with Fairlead's extensions`,
    Code.Unimplemented,
  );
}
