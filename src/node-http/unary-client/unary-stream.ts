import type { IncomingHttpHeaders } from "node:http";
import { type ClientHttp2Stream, constants } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { ENVELOPE_BYTES } from "../../rpc/envelopes.js";
import { fixGrpcMessage } from "../grpc-message.js";
import type { Http2Connection, OpenCall } from "../http2-connection.js";
import { joinChunks } from "../join-chunks.js";
import { ownError } from "../own-error.js";
import { promisedLength } from "../unary/envelope.js";
import type { RawResponse } from "./response-format.js";

/** How one attempt of a call ended without a response. */
export interface BrokenStream {
  readonly error: ConnectError;
  /** Whether the server has certainly not processed the request (RFC 9113, 8.7). */
  readonly isRefused: boolean;
}

export interface UnaryStreamEvents {
  completed(response: RawResponse): void;
  broken(broken: BrokenStream): void;
}

/** Whether this runtime tells the ids of streams: then a stream without one was never sent. */
let hasStreamIds = false;

/** One attempt of a unary call, on its stream: collects the response. */
export class UnaryStream {
  readonly #stream: ClientHttp2Stream;
  readonly #events: UnaryStreamEvents;
  #isEnveloped: boolean;
  readonly #readMaxBytes: number;
  #headers: IncomingHttpHeaders | undefined;
  #trailers: IncomingHttpHeaders | undefined;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  /** The length in the first envelope, once it has arrived. */
  #promisedBytes: number | undefined;
  #error: Error | undefined;
  #isOver = false;

  constructor(
    connection: Http2Connection,
    call: OpenCall,
    { isEnveloped, readMaxBytes }: { isEnveloped: boolean; readMaxBytes: number },
    events: UnaryStreamEvents,
  ) {
    const { stream } = call;
    this.#stream = stream;
    this.#events = events;
    this.#isEnveloped = isEnveloped;
    this.#readMaxBytes = readMaxBytes;
    stream.once("response", (headers) => {
      this.#headers = headers;
      // A proxy, or a server that closes, answers with a text of its own.
      this.#isEnveloped &&= headers["content-type"]?.startsWith("application/grpc") ?? false;
      if (isEnveloped) fixGrpcMessage(headers);
      connection.noteResponse(headers);
      hasStreamIds ||= typeof stream.id === "number";
    });
    if (isEnveloped) {
      stream.once("trailers", (trailers) => {
        fixGrpcMessage(trailers);
        this.#trailers = trailers;
      });
    }
    stream.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    stream.on("error", (error) => {
      this.#error = error;
    });
    stream.once("close", () => {
      this.#closed();
      connection.noteClose(call);
    });
  }

  /** Resets the stream; nothing is reported any more. */
  cancel(): void {
    const stream = this.#stream;
    this.#isOver = true;
    // Node ends the request before it resets the stream: one that is not sent yet would arrive as an empty message.
    stream.end = () => stream;
    stream.close(constants.NGHTTP2_CANCEL);
  }

  #receive(chunk: Uint8Array): void {
    if (this.#isOver) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (!this.#isEnveloped) {
      if (this.#bytes > this.#readMaxBytes) this.#tooLarge(this.#bytes);
      return;
    }
    if (this.#promisedBytes === undefined) {
      this.#promisedBytes = promisedLength(joinChunks(this.#chunks));
      if (this.#promisedBytes !== undefined && this.#promisedBytes > this.#readMaxBytes) {
        this.#tooLarge(this.#promisedBytes);
        return;
      }
    }
    // No response has more envelopes than one for its message and, in gRPC-Web, one for its trailers.
    if (this.#bytes > 2 * (ENVELOPE_BYTES + this.#readMaxBytes)) this.#tooLarge(this.#bytes);
  }

  #tooLarge(bytes: number): void {
    const text = `message size ${bytes} is larger than configured readMaxBytes ${this.#readMaxBytes}`;
    this.cancel();
    this.#events.broken({ error: new ConnectError(text, Code.ResourceExhausted), isRefused: false });
  }

  #closed(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { rstCode, id } = this.#stream;
    if (this.#headers && rstCode === constants.NGHTTP2_NO_ERROR && !this.#error) {
      const body = joinChunks(this.#chunks);
      this.#events.completed({ headers: this.#headers, trailers: this.#trailers, body });
      return;
    }
    const isUnsent = id === undefined && hasStreamIds;
    const isRefused = !this.#headers && (isUnsent || rstCode === constants.NGHTTP2_REFUSED_STREAM);
    this.#events.broken({ error: resetError(rstCode, this.#error), isRefused });
  }
}

/** These ask for another way to call: the connection is not lost. */
const CODES: Record<number, Code> = {
  [constants.NGHTTP2_INADEQUATE_SECURITY]: Code.PermissionDenied,
  [constants.NGHTTP2_HTTP_1_1_REQUIRED]: Code.PermissionDenied,
};

function resetError(rstCode: number | undefined, cause: Error | undefined): ConnectError {
  // The connection's own error says more. All of its calls fail with that one, so this call gets a copy.
  if (cause instanceof ConnectError) return ownError(cause);
  const text = rstCode
    ? `lost the connection: the stream was reset, HTTP/2 error code ${rstCode}`
    : `lost the connection: ${cause?.message ?? "the stream was closed before the response"}`;
  return new ConnectError(text, CODES[rstCode ?? 0] ?? Code.Unavailable, undefined, undefined, cause);
}
