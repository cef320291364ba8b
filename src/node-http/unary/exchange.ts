import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import type { RawHeaders } from "../../rpc/lazy-headers.js";
import { resetError } from "../reset-error.js";

/** The response to a unary call. */
export interface UnaryResponse {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  /** Undefined: it has none. */
  readonly body: Uint8Array | undefined;
  readonly trailers: OutgoingHttpHeaders | undefined;
}

/** The events of an exchange. */
export interface ExchangeEvents {
  /** A part of the request's body has arrived. */
  data(chunk: Uint8Array): void;
  /** The request's body has arrived as a whole. */
  end(): void;
  /** The response has been sent, or cannot be any more: `closeError` says why. */
  closed(): void;
  /** The end of the response cannot be sent. */
  broken(error: unknown): void;
}

/** One HTTP request and its response, of either HTTP version. Nothing happens to it before start(). */
export interface Exchange {
  readonly httpVersion: "1.1" | "2.0";
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly scheme: "http" | "https";
  /** The `host` header, or `:authority` of HTTP/2. */
  readonly host: string;
  readonly headers: RawHeaders;
  readonly socket: Socket;
  /** The stream of HTTP/2, on which flow control holds a response back. */
  readonly stream: ServerHttp2Stream | undefined;
  /** The error of a call whose exchange was closed before its response. */
  readonly closeError: ConnectError;
  /** Reports what happens from now on to `events`. */
  start(events: ExchangeEvents): void;
  /** Counts the parts of the response that the connection has taken. */
  readonly progress: number;
  /** Whether the response waits for those of earlier requests, which were pipelined over HTTP/1.1. */
  readonly isQueued: boolean;
  /** Reads the body from here on. */
  read(): void;
  /** Sends the response, no faster than the client takes it, and drops what is still to come of the request. */
  respond(response: UnaryResponse): void;
  /** Gives the response up: resets the stream, or closes the connection of HTTP/1.1. */
  reset(): void;
}

/** A larger response is written in pieces of this size, so that its progress can be seen. */
const PIECE_BYTES = 64 * 1024;

/** Writes `body` and ends `target`, waiting for "drain" whenever its buffer is full. */
function writeInPieces(
  target: Pick<NodeJS.WritableStream, "write" | "end" | "once">,
  body: Uint8Array,
  onPiece: () => void,
): void {
  let at = 0;
  const writeOn = () => {
    onPiece();
    while (at + PIECE_BYTES < body.length) {
      const piece = body.subarray(at, (at += PIECE_BYTES));
      if (!target.write(piece)) return void target.once("drain", writeOn);
    }
    target.end(body.subarray(at));
  };
  writeOn();
}

/** A request over HTTP/2, on its stream: Node's request and response objects would cost as much as the call. */
export class Http2Exchange implements Exchange {
  readonly httpVersion = "2.0";
  readonly isQueued = false;
  readonly headers: RawHeaders;
  readonly stream: ServerHttp2Stream;
  progress = 0;
  #events: ExchangeEvents | undefined;

  constructor(stream: ServerHttp2Stream, headers: RawHeaders) {
    this.stream = stream;
    this.headers = headers;
  }

  get method(): string {
    return this.headers[":method"] as string;
  }

  get url(): string {
    return this.headers[":path"] as string;
  }

  get scheme(): "http" | "https" {
    // The session's `socket` is a proxy, which takes longer to ask.
    return this.headers[":scheme"] === "https" ? "https" : "http";
  }

  get host(): string {
    return (this.headers[":authority"] ?? this.headers["host"] ?? "") as string;
  }

  get socket(): Socket {
    return this.stream.session?.socket as Socket;
  }

  start(events: ExchangeEvents): void {
    const { stream } = this;
    this.#events = events;
    stream.on("error", ignore);
    stream.once("close", () => events.closed());
  }

  get closeError(): ConnectError {
    return resetError(this.stream.rstCode) ?? clientLeft();
  }

  read(): void {
    this.stream.on("data", (chunk: Uint8Array) => this.#events?.data(chunk));
    this.stream.once("end", () => {
      // Node also ends a body that is cut off by a reset with NO_ERROR.
      if (!this.stream.aborted) this.#events?.end();
    });
  }

  respond({ status, headers, body, trailers }: UnaryResponse): void {
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    headers[":status"] = status;
    if (trailers) {
      stream.respond(headers, WAIT_FOR_TRAILERS);
      stream.once("wantTrailers", () => this.#sendTrailers(trailers));
    } else {
      stream.respond(headers);
      if (!stream.readableEnded) stream.once("finish", this.#stopRequest);
    }
    // The rest of a request that is refused before its end goes to data(), which drops it.
    if (!body) stream.end();
    else if (body.length <= PIECE_BYTES) stream.end(body);
    else writeInPieces(stream, body, () => this.progress++);
  }

  reset(): void {
    this.stream.close(constants.NGHTTP2_CANCEL);
  }

  #sendTrailers(trailers: OutgoingHttpHeaders): void {
    try {
      this.stream.sendTrailers(trailers);
      this.#stopRequest();
    } catch (error) {
      // Nothing else would catch it.
      this.#events?.broken(error);
    }
  }

  /** After the response: a client that has not ended its request learns that nobody reads it (RFC 9113, 8.1). */
  readonly #stopRequest = (): void => {
    const { stream } = this;
    if (stream.readableEnded) return;
    // A reset would overtake the end of the response in this turn.
    setImmediate(() => {
      if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
    });
  };
}

const WAIT_FOR_TRAILERS = { waitForTrailers: true };

/** Node sends the headers and a text that follows them in one write, but headers and bytes in two. */
const SMALL_BYTES = 4096;

const latin1 = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength).toString("latin1");

/** A request over HTTP/1.1. */
export class Http1Exchange implements Exchange {
  readonly httpVersion = "1.1";
  readonly stream = undefined;
  progress = 0;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #events: ExchangeEvents | undefined;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
  }

  get method(): string {
    return this.#request.method as string;
  }

  get url(): string {
    return this.#request.url as string;
  }

  get headers(): RawHeaders {
    return this.#request.headers;
  }

  get scheme(): "http" | "https" {
    const { socket } = this.#request;
    return "encrypted" in socket && socket.encrypted ? "https" : "http";
  }

  get host(): string {
    return this.#request.headers.host ?? "";
  }

  get socket(): Socket {
    return this.#request.socket;
  }

  get isQueued(): boolean {
    return this.#response.socket === null;
  }

  start(events: ExchangeEvents): void {
    this.#events = events;
    this.#request.on("error", ignore);
    this.#response.once("close", () => events.closed());
  }

  get closeError(): ConnectError {
    return clientLeft();
  }

  read(): void {
    this.#request.on("data", (chunk: Uint8Array) => this.#events?.data(chunk));
    this.#request.once("end", () => this.#events?.end());
  }

  respond({ status, headers, body }: UnaryResponse): void {
    const request = this.#request;
    const response = this.#response;
    if (response.destroyed || response.headersSent) return;
    response.writeHead(status, headers);
    if (!body) response.end();
    else if (body.length <= SMALL_BYTES) response.end(latin1(body), "latin1");
    else if (body.length <= PIECE_BYTES) response.end(body);
    else writeInPieces(response, body, () => this.progress++);
    // A client that still uploads reads the response only when all of its request has been taken.
    if (!request.readableEnded) response.once("finish", () => request.resume());
  }

  reset(): void {
    this.#request.socket.destroy();
  }
}

const clientLeft = (): ConnectError => new ConnectError("the client has left", Code.Canceled);

/** An error of one request ends that request, which "close" reports as well. */
const ignore = (): void => {};
