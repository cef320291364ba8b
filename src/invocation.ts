import type { Transport } from "@connectrpc/connect";
import { checkedName } from "./internal/checks.js";
import type { Service } from "./internal/invoke.js";
import { onDemand } from "./internal/later.js";

export type { InvokeInit, InvokeOptions, Service } from "./internal/invoke.js";

/** The app that the server calls `id`. The code for it is loaded with the first call. */
export function createService(transport: Transport, id: string): Service {
  checkedName("the service", id);
  return onDemand(({ invoking }) => invoking(transport, id), ["fetch", "call"]);
}
