import type { CallOptions, Transport } from "@connectrpc/connect";
import { FENCE_HEADER } from "../rpc/extension-headers.js";
import { type Fence, fenceHeader } from "./lock/fence.js";
import { needExtensions } from "./server-extensions.js";

/**
 * The request headers of a write under `fence`. Fails with `Code.Unimplemented` where the server cannot keep what is asked
 * for; `what` begins the message.
 */
export async function conditionHeaders(
  what: string,
  transport: Transport,
  { fence, ifAbsent }: { fence?: Fence | undefined; ifAbsent?: boolean | undefined },
  { signal, timeoutMs }: CallOptions,
): Promise<Record<string, string>> {
  const headers: Record<string, string> = fence ? { [FENCE_HEADER]: fenceHeader(fence) } : {};
  if (fence) await needExtensions(transport, `${what} under a fence`, signal, timeoutMs);
  if (ifAbsent) await needExtensions(transport, `${what} only where it is absent`, signal, timeoutMs);
  return headers;
}
