import type { Interceptor, StreamRequest } from "@connectrpc/connect";
import { runAfter } from "../../lib/timer.js";
import { abortable } from "../../rpc/abortable.js";
import { unauthenticated } from "./callers.js";

type Next = Parameters<Interceptor>[0];

/** Lets a stream go on for no longer than the token that it began with: then it ends, and says why, both ways. */
export async function endAtExpiry(next: Next, request: StreamRequest, expiresAtMs: number): ReturnType<Next> {
  const over = new AbortController();
  const expired = unauthenticated(
    "the bearer token that this stream began with has expired: open it again with another one",
    "invalid_token",
  );
  const callOff = runAfter(expiresAtMs - Date.now(), () => over.abort(expired));
  const ended = () => {
    callOff();
    over.abort(request.signal.reason);
  };
  // Connect aborts it when the call is over as well.
  if (request.signal.aborted) ended();
  else request.signal.addEventListener("abort", ended, { once: true });

  const { signal } = over;
  const check = () => {
    if (signal.reason === expired) throw expired;
  };
  const meant = (error: unknown) => (signal.reason === expired ? expired : error);
  const incoming = async function* () {
    const messages = request.message[Symbol.asyncIterator]();
    // Whoever sends nothing more is not waited for.
    const step = () =>
      abortable(messages.next(), signal).catch((error: unknown) => {
        throw meant(error);
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
      throw meant(error);
    }
    check();
  };
  return { ...response, message: outgoing() };
}
