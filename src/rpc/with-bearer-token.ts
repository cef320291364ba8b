import {
  Code,
  ConnectError,
  type ContextValues,
  createContextKey,
  type Transport,
} from "@connectrpc/connect";
import { bearer } from "./bearer-token.js";
import { canceled } from "./canceled.js";
import { observe } from "./dispatch/call-scope.js";
import { tokenRefreshes } from "./token-refresh.js";

/** A bearer token, or a function that returns one for each call; it gets the token that the server refused, if any. */
type TokenSource = string | ((refused?: string) => string | Promise<string>);

/** Set on a call that needs no token: the token function is not called for it. */
export const withoutToken = createContextKey(false);

/**
 * A transport whose calls carry `token`. If the server refuses a call, it is repeated once with a fresh token, if its
 * request can be sent again: unary and server-streaming calls. Other streams fail, as do those whose token expires
 * while they are open; facades that reconnect do so at once if there is a fresh token. A call with its own
 * `authorization` header is not changed.
 */
export function withBearerToken(
  transport: Transport,
  token: TokenSource,
  sign: SignCall = setAuthorization,
): Transport {
  const refresh = typeof token === "function" ? token : undefined;

  return {
    async unary(method, signal, timeoutMs, header, input, values) {
      if (needsNoToken(header, values)) {
        return transport.unary(method, signal, timeoutMs, header, input, values);
      }
      const remainingMs = countdown(timeoutMs);
      const call = (text: string) =>
        transport.unary(method, signal, remainingMs(), sign(header, text), input, values);
      const first = await tokenOf(token, undefined, signal, remainingMs());
      try {
        return await call(first);
      } catch (error) {
        if (!refresh || !isRefused(error)) throw error;
        const second = await tokenOf(refresh, first, signal, remainingMs());
        if (second === first) throw error;
        return call(second);
      }
    },

    async stream(method, signal, timeoutMs, header, input, values) {
      if (needsNoToken(header, values)) {
        return transport.stream(method, signal, timeoutMs, header, input, values);
      }
      const remainingMs = countdown(timeoutMs);
      const call = (text: string, messages: typeof input) =>
        transport.stream(method, signal, remainingMs(), sign(header, text), messages, values);
      const first = await tokenOf(token, undefined, signal, remainingMs());
      if (!refresh || method.methodKind === "client_streaming") return call(first, input);

      const next: NextToken = (refused) => tokenOf(refresh, refused, signal, remainingMs());
      if (method.methodKind === "bidi_streaming") {
        const response = call(first, input).catch((error) => throwNoted(error, first, next, "refused"));
        return withNotedErrors(await response, first, next);
      }
      const request: (typeof input extends AsyncIterable<infer M> ? M : never)[] = [];
      for await (const message of input) request.push(message);
      try {
        const response = await call(first, eachOf(request));
        if (!hasRefusal(response)) return withNotedErrors(response, first, next);
        // The error that this throws is caught below.
        const messages = response.message[Symbol.asyncIterator]();
        return { ...response, message: prepend(await messages.next(), messages) };
      } catch (error) {
        if (!isRefused(error)) throw error;
        const second = await next(first);
        if (second === first) throw error;
        const response = await call(second, eachOf(request));
        return hasRefusal(response) ? response : withNotedErrors(response, second, next);
      }
    },
  };
}

const needsNoToken = (header: HeadersInit | undefined, values: ContextValues | undefined): boolean =>
  values?.get(withoutToken) === true || new Headers(header).has("authorization");

/** Whether the headers of a stream say that it was refused. The error itself may follow with the first message. */
const hasRefusal = ({ header }: { header: Headers }): boolean => header.has("www-authenticate");

/** Makes a call with `header` carry `token`, and returns the headers to send. */
export type SignCall = (header: HeadersInit | undefined, token: string) => HeadersInit | undefined;

const setAuthorization: SignCall = (header, token) => {
  const headers = new Headers(header);
  headers.set("authorization", bearer(token));
  return headers;
};

const isRefused = (error: unknown): boolean =>
  error instanceof ConnectError && error.code === Code.Unauthenticated;

/** The token. The wait for it ends with `signal` and after `timeoutMs`, as that for the call itself. */
async function tokenOf(
  token: TokenSource,
  refused: string | undefined,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
): Promise<string> {
  const text = typeof token === "string" ? token : token(refused);
  if (typeof text === "string") return text;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    const limits = { signal, timeoutMs: timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined };
    stop = observe(limits, () => {
      const late = new ConnectError("the token did not come in time", Code.DeadlineExceeded);
      reject(signal?.aborted ? canceled(signal) : late);
    });
  });
  return Promise.race([text, aborted]).finally(stop);
}

/** Returns a function that gives the rest of `timeoutMs`, for the next step of the call. */
function countdown(timeoutMs: number | undefined): () => number | undefined {
  // To Connect, 0 and less mean no deadline.
  if (timeoutMs === undefined || timeoutMs <= 0) return () => timeoutMs;
  const endsAtMs = Date.now() + timeoutMs;
  return () => Math.max(1, endsAtMs - Date.now());
}

/** The messages of `first` and of the steps that follow it. */
async function* prepend<T>(first: IteratorResult<T>, messages: AsyncIterator<T>): AsyncGenerator<T> {
  for (let step = first; !step.done; step = await messages.next()) yield step.value;
}

/** Gets a token after one was refused; it may be the same again. */
type NextToken = (refused: string) => Promise<string>;

/** `response`, whose error throwNoted() throws. */
function withNotedErrors<R extends { header: Headers; message: AsyncIterable<unknown> }>(
  response: R,
  token: string,
  next: NextToken,
): R {
  const reason = hasRefusal(response) ? "refused" : "ended";
  const messages = async function* () {
    try {
      yield* response.message;
    } catch (error) {
      await throwNoted(error, token, next, reason);
    }
  };
  return { ...response, message: messages() };
}

/** Throws `error`. If the server refused `token` and there is another one, adds it to `tokenRefreshes`. */
async function throwNoted(
  error: unknown,
  token: string,
  next: NextToken,
  reason: "ended" | "refused",
): Promise<never> {
  if (isRefused(error) && (await next(token)) !== token) tokenRefreshes.set(error as ConnectError, reason);
  throw error;
}

async function* eachOf<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
