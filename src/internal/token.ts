import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { bearer } from "./bearer.js";
import { canceled } from "./canceled.js";

/**
 * A bearer token, or what gives one: asked before every call, and once more, with the token that was refused, where
 * the server would not have it.
 */
export type Token = string | ((refused?: string) => string | Promise<string>);

/**
 * A transport whose calls carry `token`. A refused call is made again with a fresh token, once, where its request is
 * there to be sent again: unary calls, and those that only the server answers with a stream. A call with an
 * `authorization` header of its own is left as it is.
 */
export function withToken(transport: Transport, token: Token, signed: Sign = inHeader): Transport {
  const fresh = typeof token === "function" ? token : undefined;

  return {
    async unary(method, signal, timeoutMs, header, input, values) {
      if (new Headers(header).has("authorization")) {
        return transport.unary(method, signal, timeoutMs, header, input, values);
      }
      const left = timer(timeoutMs);
      const call = (text: string) =>
        transport.unary(method, signal, left(), signed(header, text), input, values);
      const first = await given(token, undefined, signal, left());
      try {
        return await call(first);
      } catch (error) {
        if (!fresh || !isRefused(error)) throw error;
        const second = await given(fresh, first, signal, left());
        if (second === first) throw error;
        return call(second);
      }
    },

    async stream(method, signal, timeoutMs, header, input, values) {
      if (new Headers(header).has("authorization")) {
        return transport.stream(method, signal, timeoutMs, header, input, values);
      }
      const left = timer(timeoutMs);
      const first = await given(token, undefined, signal, left());
      if (!fresh || method.methodKind !== "server_streaming") {
        return transport.stream(method, signal, left(), signed(header, first), input, values);
      }
      const request: (typeof input extends AsyncIterable<infer M> ? M : never)[] = [];
      for await (const message of input) request.push(message);
      const call = (text: string) =>
        transport.stream(method, signal, left(), signed(header, text), eachOf(request), values);
      try {
        const response = await call(first);
        // A refusal says so in its headers; an answer that is none may wait for its first message.
        if (!response.header.has("www-authenticate")) return response;
        const messages = response.message[Symbol.asyncIterator]();
        return { ...response, message: begun(await messages.next(), messages) };
      } catch (error) {
        if (!isRefused(error)) throw error;
        const second = await given(fresh, first, signal, left());
        if (second === first) throw error;
        return call(second);
      }
    },
  };
}

/** Sees to it that a call with that header comes with the token: the header that it then needs. */
export type Sign = (header: HeadersInit | undefined, token: string) => HeadersInit | undefined;

const inHeader: Sign = (header, token) => {
  const headers = new Headers(header);
  headers.set("authorization", bearer(token));
  return headers;
};

const isRefused = (error: unknown): boolean =>
  error instanceof ConnectError && error.code === Code.Unauthenticated;

/** The token, waited for no longer than the call itself may take. */
async function given(
  token: Token,
  refused: string | undefined,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
): Promise<string> {
  const text = typeof token === "string" ? token : token(refused);
  if (typeof text === "string") return text;
  let stop = () => {};
  const over = new Promise<never>((_, reject) => {
    const abort = () => signal && reject(canceled(signal));
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    const late = () => reject(new ConnectError("the token did not come in time", Code.DeadlineExceeded));
    const timeout = timeoutMs !== undefined && timeoutMs > 0 ? setTimeout(late, timeoutMs) : undefined;
    stop = () => {
      signal?.removeEventListener("abort", abort);
      clearTimeout(timeout);
    };
  });
  return Promise.race([text, over]).finally(stop);
}

/** What is left of a call's time, as the next part of it is to be told. */
function timer(timeoutMs: number | undefined): () => number | undefined {
  // Connect takes 0 and less for no deadline at all.
  if (timeoutMs === undefined || timeoutMs <= 0) return () => timeoutMs;
  const endsAtMs = Date.now() + timeoutMs;
  return () => Math.max(1, endsAtMs - Date.now());
}

/** What `messages` has left, behind its first result. */
async function* begun<T>(first: IteratorResult<T>, messages: AsyncIterator<T>): AsyncGenerator<T> {
  for (let next = first; !next.done; next = await messages.next()) yield next.value;
}

async function* eachOf<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
