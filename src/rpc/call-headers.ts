import type { CallOptions } from "@connectrpc/connect";

/** `call` with `added` among its headers; undefined values are left out. */
export function withHeaders<O extends CallOptions>(call: O, added: Record<string, string | undefined>): O {
  const headers = new Headers(call.headers);
  for (const [name, value] of Object.entries(added)) if (value !== undefined) headers.set(name, value);
  return { ...call, headers };
}

/** `call` that hands response headers to `tell`, and to the caller's own `onHeader` as well. */
export function withOnHeader<O extends CallOptions>(call: O, tell: (headers: Headers) => void): O {
  const onHeader = (headers: Headers) => {
    tell(headers);
    call.onHeader?.(headers);
  };
  return { ...call, onHeader };
}

/** `call` that hands response trailers to `tell`, and to the caller's own `onTrailer` as well. */
export function withOnTrailer<O extends CallOptions>(call: O, tell: (trailers: Headers) => void): O {
  const onTrailer = (trailers: Headers) => {
    tell(trailers);
    call.onTrailer?.(trailers);
  };
  return { ...call, onTrailer };
}
