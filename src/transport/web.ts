import type { DescMethodStreaming, Registry } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { later } from "../internal/later.js";
import type { Token } from "../internal/token.js";

/** How calls travel. */
export interface WebTransportOptions {
  /** Default: "connect". */
  protocol?: "connect" | "grpc-web";
  /** JSON instead of binary on the wire: easier to read in a browser's network panel. Default: false. */
  json?: boolean;
  /** The messages that a `google.protobuf.Any` may hold in JSON. Default: plain bytes only. */
  registry?: Registry;
  /**
   * Sends the reads as HTTP GET, which needs no preflight from another origin; the keys that are read then stand in
   * the URL, where proxies log them. Connect only. Default: false.
   */
  useHttpGet?: boolean;
  /** The deadline of every call that has none of its own. Default: none. */
  defaultTimeoutMs?: number;
  /** Connect's interceptors, around every call, from the outermost on. Default: none. */
  interceptors?: Interceptor[];
  /** The bearer token that every call carries, or what gives one, asked for each call. Default: none. */
  token?: Token;
  /** Called in the place of the global fetch. */
  fetch?: typeof globalThis.fetch;
}

/** What every transport over fetch is made with. */
export interface FetchOptions {
  readonly baseUrl: string;
  readonly fetch: typeof globalThis.fetch;
  readonly interceptors: Interceptor[];
  readonly defaultTimeoutMs?: number;
}

/**
 * A transport over fetch, for browsers, workers, edge isolates and every other runtime that has it. Calls that send a
 * stream (PutFile, Produce, the subscriptions) are beyond fetch and fail with `Code.Unimplemented`.
 */
export function createWebTransport(url: string, options: WebTransportOptions = {}): Transport {
  const { protocol = "connect", json, useHttpGet, token, interceptors = [], defaultTimeoutMs } = options;
  if (useHttpGet && protocol !== "connect") {
    throw new TypeError('Cannot send reads as HTTP GET by gRPC-Web: the protocol must be "connect"');
  }
  const shared: FetchOptions = {
    baseUrl: url.replace(/\/+$/, ""),
    fetch: reaching(options.fetch),
    interceptors,
    ...(defaultTimeoutMs !== undefined && { defaultTimeoutMs }),
  };
  const transport =
    protocol === "connect" && !json && !useHttpGet
      ? createConnectTransport({ ...shared, useBinaryFormat: true })
      : later(async () => (await import("./web-rare.js")).rareTransport(shared, options));
  const downloading: Transport = {
    unary: (...args) => transport.unary(...args),
    async stream(method, ...rest) {
      refuseUpload(method);
      return transport.stream(method, ...rest);
    },
  };
  if (token === undefined) return downloading;
  return later(async () => (await import("../internal/token.js")).withToken(downloading, token));
}

function refuseUpload(method: DescMethodStreaming): void {
  if (method.methodKind === "server_streaming") return;
  const call = `${method.parent.typeName}/${method.name}`;
  throw new ConnectError(
    `${call} sends a stream, which fetch cannot do: call it over fairlead/node, or in this process`,
    Code.Unimplemented,
  );
}

/** A fetch whose network failures are `unavailable`, as on every other transport, not a TypeError of unknown meaning. */
function reaching(fetch: typeof globalThis.fetch | undefined): typeof globalThis.fetch {
  return async (input, init) => {
    try {
      return await (fetch ?? globalThis.fetch)(input, init);
    } catch (error) {
      if (init?.signal?.aborted) throw error;
      throw new ConnectError(`cannot reach ${hostOf(input)}`, Code.Unavailable, undefined, undefined, error);
    }
  };
}

const hostOf = (input: RequestInfo | URL): string =>
  new URL(input instanceof Request ? input.url : String(input)).host;
