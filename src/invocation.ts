import type { Transport } from "@connectrpc/connect";
import type { Service } from "./internal/invoke.js";
import { loaded } from "./internal/later.js";

export type { InvokeInit, InvokeOptions, Service } from "./internal/invoke.js";

/** The app that the server calls `id`. The code for it is loaded with the first call. */
export function createService(transport: Transport, id: string): Service {
  let service: Service | undefined;
  const ready = async () => (service ??= (await loaded(import("./on-demand.js"))).invoking(transport, id));
  return {
    fetch: async (path, init) => (await ready()).fetch(path, init),
    call: async (method, data, options) => (await ready()).call(method, data, options),
  };
}
