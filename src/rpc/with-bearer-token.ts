import {
  Code,
  ConnectError,
  type ContextValues,
  createContextKey,
  type Transport,
} from "@connectrpc/connect";
import { onAbort } from "../lib/on-abort.js";
import { bearer } from "./bearer-token.js";
import { canceled } from "./canceled.js";
import { tokenRefreshes } from "./token-refresh.js";

/** A bearer token, or a function that returns one for each call; it gets the token that the server refused, if any. */
type TokenSource = string | ((refused?: string) => string | Promise<string>);

/** Set for a call that needs no token, of which none is asked for then. */
export const withoutToken = createContextKey(false);

/**
 * A transport whose calls carry `token`. A refused call is made again with a fresh token, once, where its request is
 * there to be sent again: unary calls, and those that only the server answers with a stream. Other streams, and those
 * whose token expires on the way, fail; facades that go on after a failure do so where there is a fresh one. A call with
 * an `authorization` header of its own is left as it is.
 */
export function withBearerToken(
  transport: Transport,
  token: TokenSource,
  signed: Sign = inHeader,
): Transport {
  const fresh = typeof token === "function" ? token : undefined;

  return {
    async unary(method, signal, timeoutMs, header, input, values) {
      if (needsNone(header, values)) {
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
      if (needsNone(header, values)) {
        return transport.stream(method, signal, timeoutMs, header, input, values);
      }
      const left = timer(timeoutMs);
      const call = (text: string, messages: typeof input) =>
        transport.stream(method, signal, left(), signed(header, text), messages, values);
      const first = await given(token, undefined, signal, left());
      if (!fresh || method.methodKind === "client_streaming") return call(first, input);

      const other: Another = (refused) => given(fresh, refused, signal, left());
      if (method.methodKind === "bidi_streaming") {
        const response = call(first, input).catch((error) => noting(error, first, other, "refused"));
        return renewable(await response, first, other);
      }
      const request: (typeof input extends AsyncIterable<infer M> ? M : never)[] = [];
      for await (const message of input) request.push(message);
      try {
        const response = await call(first, eachOf(request));
        if (!isRefusal(response)) return renewable(response, first, other);
        const messages = response.message[Symbol.asyncIterator]();
        return { ...response, message: begun(await messages.next(), messages) };
      } catch (error) {
        if (!isRefused(error)) throw error;
        const second = await other(first);
        if (second === first) throw error;
        const response = await call(second, eachOf(request));
        return isRefusal(response) ? response : renewable(response, second, other);
      }
    },
  };
}

const needsNone = (header: HeadersInit | undefined, values: ContextValues | undefined): boolean =>
  values?.get(withoutToken) === true || new Headers(header).has("authorization");

/** Whether a stream was refused before it began: its headers say so, while an answer may wait for its first message. */
const isRefusal = ({ header }: { header: Headers }): boolean => header.has("www-authenticate");

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
  token: TokenSource,
  refused: string | undefined,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
): Promise<string> {
  const text = typeof token === "string" ? token : token(refused);
  if (typeof text === "string") return text;
  let stop = () => {};
  const over = new Promise<never>((_, reject) => {
    const stopListening = onAbort(signal, () => signal && reject(canceled(signal)));
    const late = () => reject(new ConnectError("the token did not come in time", Code.DeadlineExceeded));
    const timeout = timeoutMs !== undefined && timeoutMs > 0 ? setTimeout(late, timeoutMs) : undefined;
    stop = () => {
      stopListening();
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

/** Gives a token in the place of one that was refused; it may be the same. */
type Another = (refused: string) => Promise<string>;

/** `response`, with its failure looked at by noting(). */
function renewable<R extends { header: Headers; message: AsyncIterable<unknown> }>(
  response: R,
  text: string,
  other: Another,
): R {
  const how = isRefusal(response) ? "refused" : "ended";
  const messages = async function* () {
    try {
      yield* response.message;
    } catch (error) {
      await noting(error, text, other, how);
    }
  };
  return { ...response, message: messages() };
}

/** Throws `error`; where it is for want of another token than `text`, and there is one, that is noted with it. */
async function noting(
  error: unknown,
  text: string,
  other: Another,
  how: "ended" | "refused",
): Promise<never> {
  if (isRefused(error) && (await other(text)) !== text) tokenRefreshes.set(error as ConnectError, how);
  throw error;
}

async function* eachOf<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
