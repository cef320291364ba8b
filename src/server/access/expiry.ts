import type { Interceptor, StreamRequest } from "@connectrpc/connect";
import { runAfter } from "../../lib/timer.js";
import { abortable } from "../../rpc/abortable.js";
import { unauthenticated } from "./callers.js";

type Next = Parameters<Interceptor>[0];

/** Ends a stream when the token that it began with expires, with the reason in both directions. */
export async function endAtExpiry(next: Next, request: StreamRequest, expiresAtMs: number): ReturnType<Next> {
  const ended = new AbortController();
  const expired = unauthenticated(
    "the bearer token that this stream began with has expired: open it again with another one",
    "invalid_token",
  );
  const stopTimer = runAfter(expiresAtMs - Date.now(), () => ended.abort(expired));
  const end = () => {
    stopTimer();
    ended.abort(request.signal.reason);
  };
  // Connect also aborts it when the call has ended.
  if (request.signal.aborted) end();
  else request.signal.addEventListener("abort", end, { once: true });

  const { signal } = ended;
  const check = () => {
    if (signal.reason === expired) throw expired;
  };
  const mapError = (error: unknown) => (signal.reason === expired ? expired : error);
  const incoming = async function* () {
    const messages = request.message[Symbol.asyncIterator]();
    // Does not wait for a client that sends nothing more.
    const step = () =>
      abortable(messages.next(), signal).catch((error: unknown) => {
        throw mapError(error);
      });
    try {
      for (let message = await step(); !message.done; message = await step()) yield message.value;
    } finally {
      messages.return?.().catch(() => {});
    }
  };
  const response = await next({ ...request, signal, message: incoming() });
  if (!response.stream) return response;
  const outgoing = async function* () {
    try {
      for await (const message of response.message) {
        check();
        yield message;
      }
    } catch (error) {
      throw mapError(error);
    }
    check();
  };
  return { ...response, message: outgoing() };
}
