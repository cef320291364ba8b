import "./counted.js";

import { createClient as createRaw, type Interceptor, type Transport } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createClient } from "../../../src/index.js";
import { createNodeTransport, createTunnelTransport, type NodeTransportOptions } from "../../../src/node.js";
import { takeCounts } from "./counted.js";

/** The calls to make: one after the other, and as many at once. */
export interface Work {
  url: string;
  /** "tunnel", or the options of createNodeTransport(). */
  over: "tunnel" | NodeTransportOptions;
  /** The call: of the generated client; of the facades; a stream; one that fails. Default: of the generated client. */
  kind?: "raw" | "facade" | "stream" | "failing";
  /** The deadline of each call. */
  timeoutMs?: number;
  /** Interceptors around each call: some that only call the next one, or one that copies the request. */
  interceptors?: "plain" | "copying";
  calls: number;
  atOnce: number;
}

const INTERCEPTORS: Record<string, Interceptor[]> = {
  plain: [(next) => next, (next) => async (request) => await next(request)],
  copying: [(next) => async (request) => await next({ ...request })],
};

const KINDS: Record<
  NonNullable<Work["kind"]>,
  (transport: Transport, work: Work) => () => Promise<unknown>
> = {
  raw(transport, { timeoutMs }) {
    const client = createRaw(Runtime, transport);
    const options = timeoutMs === undefined ? {} : { timeoutMs };
    return () => client.getState({ storeName: "default", key: "k" }, options);
  },
  facade(transport) {
    const state = createClient(transport).state();
    return () => state.get("k");
  },
  stream(transport) {
    const client = createRaw(Runtime, transport);
    return async () => {
      try {
        for await (const _part of client.getFile({ storeName: "default", name: "none" }));
      } catch {
        // There is no such file: the stream ends with that.
      }
    };
  },
  failing(transport) {
    const client = createRaw(Runtime, transport);
    return () => client.getState({ storeName: "none", key: "k" }).catch(() => {});
  },
};

const calls = new Map<string, () => Promise<unknown>>();

function callOf(work: Work): () => Promise<unknown> {
  const { url, over, kind = "raw", timeoutMs, interceptors = "" } = work;
  const key = JSON.stringify([url, over, kind, timeoutMs, interceptors]);
  const known = calls.get(key);
  if (known) return known;
  const own = { interceptors: INTERCEPTORS[interceptors] ?? [] };
  const transport =
    over === "tunnel" ? createTunnelTransport(url, own) : createNodeTransport(url, { ...over, ...own });
  const call = KINDS[kind](transport, work);
  calls.set(key, call);
  return call;
}

// It makes calls, and sends its counts.
process.on("message", async (work: Work) => {
  const call = callOf(work);
  takeCounts();
  const repeat = async () => {
    for (let i = 0; i < work.calls / work.atOnce; i++) await call();
  };
  await Promise.all(Array.from({ length: work.atOnce }, repeat));
  process.send?.(takeCounts());
});
process.on("disconnect", () => process.exit());
process.send?.("ready");
