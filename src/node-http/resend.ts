import { type ClientHttp2Stream, constants } from "node:http2";
import { Code, ConnectError, type StreamRequest, type UnaryRequest } from "@connectrpc/connect";
import { type Backoff, jitteredMs } from "../lib/backoff.js";
import { ReplayedInput } from "../rpc/replayed-input.js";
import { sleep } from "../rpc/sleep.js";
import type { UncopiedMessages } from "../rpc/uncopied-messages.js";
import { markUnprocessed } from "../rpc/unprocessed.js";
import { ownError } from "./own-error.js";

/** One attempt of a call, with its stream once it is open. */
export interface Attempt {
  stream?: ClientHttp2Stream;
  /** Its messages, if it sends them without copies. */
  uncopied?: UncopiedMessages;
}

/** The most attempts of a call whose streams the peer refuses. */
export const MOST_TRIES = 5;

/** The delay before the third attempt and later ones: a peer that refuses again may be busy. */
const BACKOFF: Backoff = { minMs: 20, maxMs: 1000 };

/** How long to wait after so many refusals beyond the first. */
export const resendDelayMs = (refusals: number): number => jitteredMs(BACKOFF, refusals);

/**
 * Makes a call in attempts, each over a stream of its own. The peer has certainly not processed a stream that it
 * refused, by RST_STREAM or as one above the last of its GOAWAY (RFC 9113, 8.7). Such a call is sent again at once,
 * writes too, if all messages that it has sent are still kept. A stream that is reset without a status of the server
 * is a lost connection.
 */
export async function withResend<Request extends UnaryRequest | StreamRequest, Response>(
  request: Request,
  call: (request: Request, attempt: Attempt) => Promise<Response>,
): Promise<Response> {
  const input = request.stream ? new ReplayedInput(request.message) : undefined;
  for (let tries = 1; ; tries++) {
    const attempt: Attempt = {};
    try {
      const sent = input ? { ...request, message: input.open() } : request;
      const response = await call(sent as Request, attempt);
      input?.release();
      return withMappedErrors(response, (error) => mapped(error, request.signal, attempt));
    } catch (error) {
      const refused = isRefused(attempt);
      const again = tries < MOST_TRIES && refused && !request.signal.aborted && input?.isWhole !== false;
      if (!again) {
        input?.fail(error);
        const own = refused ? markUnprocessed(ownError(ConnectError.from(error))) : error;
        throw mapped(own, request.signal, attempt);
      }
      if (tries > 1) await sleep(resendDelayMs(tries - 1), request.signal);
    }
  }
}

/** Whether the peer has certainly not processed the stream: it refused it, or has never seen it. */
const isRefused = ({ stream }: Attempt): boolean =>
  stream !== undefined &&
  ((stream.id === undefined && hasIds) ||
    (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM && !answered.has(stream)));

/** The streams whose response has begun. */
const answered = new WeakSet<ClientHttp2Stream>();

/** Whether the runtime exposes the ids of streams: if so, a stream without one has never been sent. */
let hasIds = false;

/** Notes when the response begins. */
export function watchAnswer(stream: ClientHttp2Stream): void {
  stream.once("response", () => {
    answered.add(stream);
    hasIds ||= typeof stream.id === "number";
  });
}

/** Error codes that ask for another protocol or better TLS: another attempt cannot help. */
const MEANT: ReadonlySet<number | undefined> = new Set([
  constants.NGHTTP2_INADEQUATE_SECURITY,
  constants.NGHTTP2_HTTP_1_1_REQUIRED,
]);

/** Maps the error of a stream that was reset without a status of the server to `unavailable`. */
function mapped(error: unknown, signal: AbortSignal, { stream }: Attempt): unknown {
  if (!(error instanceof ConnectError) || error.code === Code.Unavailable || signal.aborted) return error;
  const { rstCode } = stream ?? {};
  // An error that the server sent has the headers of its response, and no cause.
  const isReset = error.cause !== undefined || /^http\/2 stream closed/.test(error.rawMessage);
  if ([...error.metadata].length > 0 || !isReset || !rstCode || MEANT.has(rstCode)) return error;
  return new ConnectError(
    `lost the connection: the stream was reset, HTTP/2 error code ${rstCode}`,
    Code.Unavailable,
    undefined,
    undefined,
    error,
  );
}

function withMappedErrors<Response>(response: Response, map: (error: unknown) => unknown): Response {
  const { stream, message } = response as { stream?: boolean; message: AsyncIterable<unknown> };
  if (!stream) return response;
  const rethrow = (error: unknown) => {
    throw map(error);
  };
  const messages: AsyncIterable<unknown> = {
    [Symbol.asyncIterator]() {
      const inner = message[Symbol.asyncIterator]();
      const leave = inner.return?.bind(inner);
      const raise = inner.throw?.bind(inner);
      return {
        next: () => inner.next().catch(rethrow),
        ...(leave && { return: (value?: unknown) => leave(value) }),
        ...(raise && { throw: (reason?: unknown) => raise(reason) }),
      };
    },
  };
  return { ...response, message: messages };
}
