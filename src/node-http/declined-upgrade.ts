import type { EventEmitter } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { PipelinedResponses } from "./pipelined-responses.js";

/**
 * Answers a request that offers another protocol as a plain request (RFC 9110, 7.8). Node emits "upgrade" for it and
 * stops parsing the connection; without a listener it even loses the pipelined requests behind it. So the connection is
 * handed to `server` again, with the same request in front, without the offer.
 */
export async function declineUpgrade(
  server: Server,
  request: IncomingMessage,
  stream: Duplex,
  head: Buffer,
  pipelined: PipelinedResponses,
): Promise<void> {
  // The owner of the connection closes it if it breaks.
  stream.on("error", () => {});
  const { socket } = request;
  await allSent(pipelined.of(socket), socket);
  if (socket.destroyed || !socket.writable) return;
  if (stream === socket) {
    const body = readNow(request);
    const isParsed = isChunked(request) && (await bodyIsParsed());
    const rest = isParsed ? [...chunk(body), lastChunk(request), head] : [body, head];
    socket.unshift(Buffer.concat([headerBlock(request), ...rest]));
    server.emit("connection", socket);
  } else {
    server.emit("connection", new BodyInFront(request, stream, head));
  }
}

/** Resolves when the `responses` have been sent, or have failed with the connection. */
async function allSent(responses: readonly EventEmitter[], socket: Socket): Promise<void> {
  // Node emits it on them no more.
  const emitDrain = () => {
    for (const response of responses) response.emit("drain");
  };
  socket.on("drain", emitDrain);
  await Promise.all(responses.map((response) => new Promise((close) => response.once("close", close))));
  socket.off("drain", emitDrain);
}

let parsed: Promise<boolean> | undefined;

/** Whether Node parses the body of a request that asks for an upgrade. Before version 26 it leaves it in the stream. */
function bodyIsParsed(): Promise<boolean> {
  return (parsed ??= new Promise((resolve) => {
    const server = createServer().on("upgrade", (_request, _stream, head) => resolve(head.length === 0));
    const stream = new Duplex({ read() {}, write: (_bytes, _encoding, done) => done() });
    server.emit("connection", stream);
    stream.push(
      "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: a\r\ncontent-length: 1\r\n\r\na",
    );
  }));
}

/** The headers of an offer to change the protocol. */
const OFFER = new Set(["upgrade", "http2-settings"]);

/** The request line and the headers as they came, without the offer. */
function headerBlock({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? "";
    const value = rawHeaders[i + 1] ?? "";
    if (OFFER.has(name.toLowerCase())) continue;
    if (name.toLowerCase() !== "connection") {
      lines.push(`${name}: ${value}`);
      continue;
    }
    const options = value.split(",").filter((option) => !OFFER.has(option.trim().toLowerCase()));
    if (options.length > 0) lines.push(`${name}: ${options.join(",")}`);
  }
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

/**
 * A connection whose first request has been parsed up to its body: from Node 26 on, the body then comes by the request,
 * and only what is behind it by `stream`.
 */
class BodyInFront extends Duplex {
  readonly #bytes: AsyncIterator<Buffer>;
  readonly #stream: Duplex;
  readonly #socket: Socket;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  readonly encrypted: boolean;

  constructor(request: IncomingMessage, stream: Duplex, head: Buffer) {
    super({ allowHalfOpen: true });
    const { socket } = request;
    this.#stream = stream;
    this.#socket = socket;
    this.#bytes = bytesOf(request, stream, head);
    this.remoteAddress = socket.remoteAddress;
    this.remotePort = socket.remotePort;
    this.encrypted = "encrypted" in socket;
    socket.on("timeout", () => this.emit("timeout"));
    stream.on("error", (error) => this.destroy(error));
    stream.once("close", () => this.destroy());
  }

  /** The server limits idle connections by it. */
  setTimeout(ms: number): this {
    this.#socket.setTimeout(ms);
    return this;
  }

  override _read(): void {
    this.#bytes.next().then(
      ({ done, value }) => this.push(done ? null : value),
      (error: Error) => this.destroy(error),
    );
  }

  override _write(bytes: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#stream.write(bytes, encoding, done);
  }

  override _final(done: () => void): void {
    this.#stream.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stream.destroy();
    done(error);
  }
}

async function* bytesOf(request: IncomingMessage, stream: Duplex, head: Buffer): AsyncGenerator<Buffer> {
  yield headerBlock(request);
  for await (const bytes of request as AsyncIterable<Buffer>) {
    if (isChunked(request)) yield* chunk(bytes);
    else yield bytes;
  }
  if (isChunked(request)) yield lastChunk(request);
  if (head.length > 0) yield head;
  yield* stream as AsyncIterable<Buffer>;
}

/** The bytes of the body that have arrived. */
function readNow(request: IncomingMessage): Buffer {
  const chunks: Buffer[] = [];
  for (let chunk = request.read(); chunk !== null; chunk = request.read()) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const isChunked = ({ headers }: IncomingMessage): boolean => "transfer-encoding" in headers;

const chunk = (bytes: Buffer): Buffer[] =>
  bytes.length === 0 ? [] : [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")];

function lastChunk({ rawTrailers }: IncomingMessage): Buffer {
  let text = "0\r\n";
  for (let i = 0; i < rawTrailers.length; i += 2) text += `${rawTrailers[i]}: ${rawTrailers[i + 1]}\r\n`;
  return Buffer.from(`${text}\r\n`, "latin1");
}
