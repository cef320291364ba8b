import type { CallOptions } from "@connectrpc/connect";

/** `call` with the headers `added`, except those whose value is undefined. */
export function withHeaders<O extends CallOptions>(call: O, added: Record<string, string | undefined>): O {
  const headers = new Headers(call.headers);
  for (const [name, value] of Object.entries(added)) if (value !== undefined) headers.set(name, value);
  return { ...call, headers };
}

/** `call` whose response headers are passed to `listener`, and then to the `onHeader` of the caller. */
export function withOnHeader<O extends CallOptions>(call: O, listener: (headers: Headers) => void): O {
  const onHeader = (headers: Headers) => {
    listener(headers);
    call.onHeader?.(headers);
  };
  return { ...call, onHeader };
}

/** `call` whose response trailers are passed to `listener`, and then to the `onTrailer` of the caller. */
export function withOnTrailer<O extends CallOptions>(call: O, listener: (trailers: Headers) => void): O {
  const onTrailer = (trailers: Headers) => {
    listener(trailers);
    call.onTrailer?.(trailers);
  };
  return { ...call, onTrailer };
}
