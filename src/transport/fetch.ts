import type { DescMethodStreaming, JsonReadOptions, JsonWriteOptions, Registry } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { later } from "../internal/later.js";
import { type Token, withToken } from "../token.js";

/** How calls travel over fetch, whatever the protocol. */
export interface FetchOptions {
  /** JSON instead of binary on the wire: easier to read in a browser's network panel. Default: false. */
  json?: boolean;
  /** The messages that a `google.protobuf.Any` may hold in JSON. Default: plain bytes only. */
  registry?: Registry;
  /** The deadline of every call that has none of its own. Default: none. */
  defaultTimeoutMs?: number;
  /** Connect's interceptors, around every call, from the outermost on. Default: none. */
  interceptors?: Interceptor[];
  /** The bearer token that every call carries, or what gives one, asked for each call. Default: none. */
  token?: Token;
  /** Called in the place of the global fetch. */
  fetch?: typeof globalThis.fetch;
}

/** What Connect's transports over fetch are made with. */
export interface Wire {
  readonly baseUrl: string;
  readonly fetch: typeof globalThis.fetch;
  readonly useBinaryFormat: boolean;
  readonly jsonOptions?: Partial<JsonReadOptions & JsonWriteOptions>;
  readonly interceptors: Interceptor[];
  readonly defaultTimeoutMs?: number;
}

/** The transport that `create` makes, with what fetch needs around it. */
export function overFetch(
  url: string,
  { json = false, registry, interceptors = [], defaultTimeoutMs, token, fetch }: FetchOptions,
  create: (wire: Wire) => Transport,
): Transport {
  const wire: Wire = {
    baseUrl: url.replace(/\/+$/, ""),
    fetch: reaching(fetch),
    useBinaryFormat: !json,
    interceptors,
    ...(defaultTimeoutMs !== undefined && { defaultTimeoutMs }),
  };
  const transport = json
    ? later(async () => {
        const { jsonWith, sendAnyInJson } = await import("../on-demand.js");
        return create({
          ...wire,
          jsonOptions: jsonWith(registry),
          interceptors: [...interceptors, sendAnyInJson],
        });
      })
    : create(wire);
  const downloading: Transport = {
    unary: (...args) => transport.unary(...args),
    async stream(method, ...rest) {
      refuseUpload(method);
      return transport.stream(method, ...rest);
    },
  };
  return token === undefined ? downloading : withToken(downloading, token);
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
