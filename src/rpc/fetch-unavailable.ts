import { Code, ConnectError } from "@connectrpc/connect";
import type { envelopesFit } from "./envelopes.js";

/** The default limit for the bytes of a response message. */
export const READ_MAX_BYTES = 64 * 1024 * 1024;

/**
 * A fetch for Connect's transports, with the same errors in every runtime. If the network fails, before the response or
 * within it, the error is `unavailable`, as on other transports. Redirects are `unavailable` too: Connect asks fetch to
 * refuse them, which workerd cannot, so they are refused here. A message of more than `readMaxBytes` after
 * decompression is `resource_exhausted`. `loadEnvelopes` is called for the first stream.
 */
export function fetchOrUnavailable(
  loadEnvelopes: () => Promise<{ envelopesFit: typeof envelopesFit }>,
  fetch?: typeof globalThis.fetch,
  readMaxBytes = READ_MAX_BYTES,
): typeof globalThis.fetch {
  return async (input, init) => {
    const { host } = new URL(input instanceof Request ? input.url : String(input));
    const unavailable = (message: string, cause?: unknown) =>
      cause instanceof ConnectError || init?.signal?.aborted
        ? cause
        : new ConnectError(message, Code.Unavailable, undefined, undefined, cause);
    let response: Response;
    try {
      response = await (fetch ?? globalThis.fetch)(input, { ...init, redirect: "manual" });
    } catch (error) {
      throw unavailable(`cannot reach ${host}`, error);
    }
    const { type, status, body } = response;
    // Browsers hide the status of a redirect.
    if (type === "opaqueredirect" || (status >= 300 && status < 400)) {
      throw unavailable(`cannot reach ${host}: it redirects`);
    }
    if (!body) return response;
    // Only streams have envelopes, so that a page without streams does not load that code.
    const isStream = /^application\/(connect\+|grpc)/.test(response.headers.get("content-type") ?? "");
    const envelopes = isStream && (await loadEnvelopes()).envelopesFit(readMaxBytes);
    let bytes = 0;
    const fits = envelopes || ((chunk: Uint8Array) => (bytes += chunk.length) <= readMaxBytes);
    return checkedResponse(
      body,
      response,
      (chunk) => {
        if (fits(chunk)) return;
        const text = `a message has more than ${readMaxBytes} bytes (readMaxBytes)`;
        throw new ConnectError(text, Code.ResourceExhausted);
      },
      (error) => unavailable(`lost the connection to ${host}`, error),
    );
  };
}

/** `response` whose chunks are passed to `check` first, and whose errors are mapped by `mapError`. */
function checkedResponse(
  chunks: ReadableStream<Uint8Array>,
  response: Response,
  check: (chunk: Uint8Array) => void,
  mapError: (error: unknown) => unknown,
): Response {
  const reader = chunks.getReader();
  let failure: unknown;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) return controller.close();
          check(value);
          controller.enqueue(value);
        } catch (error) {
          void reader.cancel(error).catch(() => {});
          throw (failure = mapError(error));
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
  const answer = new Response(body, response);
  // Chromium throws an error of its own for a failed body, instead of the one that the stream failed with.
  for (const read of ["arrayBuffer", "json"] as const) {
    const method = answer[read];
    answer[read] = () =>
      method.call(answer).catch((error: unknown) => {
        throw failure ?? error;
      });
  }
  return answer;
}
