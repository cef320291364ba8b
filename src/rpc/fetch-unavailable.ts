import { Code, ConnectError } from "@connectrpc/connect";
import type { envelopesFit } from "./envelopes.js";

/** The most bytes that a message of an answer may have by default. */
export const READ_MAX_BYTES = 64 * 1024 * 1024;

/**
 * A fetch for Connect's transports, in every runtime. A network that fails is `unavailable`, as on every other
 * transport, not an error of another name in each browser: before the answer and within it. So are redirects, which
 * Connect would have fetch refuse: workerd does not know how to, so they are asked for, and refused here. A message of
 * more than `readMaxBytes`, which fetch has decompressed by then, is `resource_exhausted`. `loadEnvelopes` is called with
 * the first stream.
 */
export function fetchOrUnavailable(
  loadEnvelopes: () => Promise<{ envelopesFit: typeof envelopesFit }>,
  fetch?: typeof globalThis.fetch,
  readMaxBytes = READ_MAX_BYTES,
): typeof globalThis.fetch {
  return async (input, init) => {
    const { host } = new URL(input instanceof Request ? input.url : String(input));
    const failed = (what: string, cause?: unknown) =>
      cause instanceof ConnectError || init?.signal?.aborted
        ? cause
        : new ConnectError(what, Code.Unavailable, undefined, undefined, cause);
    let response: Response;
    try {
      response = await (fetch ?? globalThis.fetch)(input, { ...init, redirect: "manual" });
    } catch (error) {
      throw failed(`cannot reach ${host}`, error);
    }
    const { type, status, body } = response;
    // Of a redirect a browser shows the type only.
    if (type === "opaqueredirect" || (status >= 300 && status < 400)) {
      throw failed(`cannot reach ${host}: it redirects`);
    }
    if (!body) return response;
    // Streams are of no use to a page that has not loaded the code for them.
    const isStream = /^application\/(connect\+|grpc)/.test(response.headers.get("content-type") ?? "");
    const envelopes = isStream && (await loadEnvelopes()).envelopesFit(readMaxBytes);
    let bytes = 0;
    const fits = envelopes || ((chunk: Uint8Array) => (bytes += chunk.length) <= readMaxBytes);
    return bounded(
      body,
      response,
      (chunk) => {
        if (fits(chunk)) return;
        const text = `a message has more than ${readMaxBytes} bytes (readMaxBytes)`;
        throw new ConnectError(text, Code.ResourceExhausted);
      },
      (error) => failed(`lost the connection to ${host}`, error),
    );
  };
}

/** `response`, whose chunks `check` looks at first, and whose body fails as `failed` says. */
function bounded(
  chunks: ReadableStream<Uint8Array>,
  response: Response,
  check: (chunk: Uint8Array) => void,
  failed: (error: unknown) => unknown,
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
          throw (failure = failed(error));
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
  const answer = new Response(body, response);
  // Chromium tells of a failed body in words of its own, whatever it failed with.
  for (const read of ["arrayBuffer", "json"] as const) {
    const method = answer[read];
    answer[read] = () =>
      method.call(answer).catch((error: unknown) => {
        throw failure ?? error;
      });
  }
  return answer;
}
