import type { Transport } from "@connectrpc/connect";
import { checkedName } from "../lib/checks.js";
import { lazyMethods } from "./lazy.js";
import type { Service } from "./service/invoke.js";

export type { InvokeInit, InvokeOptions, Service } from "./service/invoke.js";

/** The app that the server calls `id`. The code for it is loaded with the first call. */
export function createService(transport: Transport, id: string): Service {
  checkedName("the service", id);
  return lazyMethods(({ serviceInvoker }) => serviceInvoker(transport, id), ["fetch", "call"]);
}
