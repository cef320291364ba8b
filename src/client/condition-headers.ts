import type { CallOptions, Transport } from "@connectrpc/connect";
import { FENCE_HEADER } from "../rpc/extension-headers.js";
import { fenceHeader } from "./lock/fence.js";
import type { Fence } from "./lock.js";
import { needExtensions } from "./server-extensions.js";

/**
 * The request headers of a write under `fence`. Fails with `Code.Unimplemented` if the server does not support a
 * condition; `failure` begins the message.
 */
export async function conditionHeaders(
  failure: string,
  transport: Transport,
  { fence, ifAbsent }: { fence?: Fence | undefined; ifAbsent?: boolean | undefined },
  { signal, timeoutMs }: CallOptions,
): Promise<Record<string, string>> {
  const headers: Record<string, string> = fence ? { [FENCE_HEADER]: fenceHeader(fence) } : {};
  if (fence) await needExtensions(transport, `${failure} under a fence`, signal, timeoutMs);
  if (ifAbsent) await needExtensions(transport, `${failure} only where it is absent`, signal, timeoutMs);
  return headers;
}
