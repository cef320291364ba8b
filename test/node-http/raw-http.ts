import { type ClientRequest, request as request1 } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";

/** A response as it was on the wire. */
export interface RawAnswer {
  status: number;
  headers: Record<string, unknown>;
  body: Buffer;
  trailers: Record<string, unknown>;
}

export interface RawQuestion {
  path: string;
  method?: string;
  headers?: Record<string, string | string[]>;
  /** The parts of the body, each written by itself. */
  body?: readonly (Uint8Array | string)[];
  /** Whether the body ends. Default: true. */
  isWhole?: boolean;
}

/** A request under way. */
interface RawCall {
  readonly answer: Promise<RawAnswer>;
  write(part: Uint8Array): void;
  end(): void;
  /** Resets the stream, or closes the connection of HTTP/1.1. */
  leave(): void;
}

export type RawClient = ((question: RawQuestion) => RawCall) & Disposable;

/** An envelope of gRPC and gRPC-Web. */
export function envelope(message: Uint8Array, flags = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

/** One connection of HTTP/2. */
export function rawHttp2(url: string, session: ClientHttp2Session = connect(url)): RawClient {
  session.on("error", () => {});
  const ask = ({ path, method = "POST", headers = {}, body = [], isWhole = true }: RawQuestion): RawCall => {
    const stream = session.request({ ":method": method, ":path": path, ...headers });
    for (const part of body) stream.write(part);
    if (isWhole) stream.end();
    return {
      answer: answerOf(stream),
      write: (part) => void stream.write(part),
      end: () => void stream.end(),
      leave: () => stream.destroy(),
    };
  };
  return Object.assign(ask, { [Symbol.dispose]: () => session.destroy() });
}

function answerOf(stream: ClientHttp2Stream): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    let headers: Record<string, unknown> = {};
    let trailers: Record<string, unknown> = {};
    const chunks: Buffer[] = [];
    stream.on("response", (all) => {
      headers = all;
    });
    stream.on("trailers", (all) => {
      trailers = all;
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", () => {});
    const resolveWhole = () => {
      if (stream.rstCode) reject(new Error(`reset ${stream.rstCode}`));
      else resolve({ status: Number(headers[":status"]), headers, trailers, body: Buffer.concat(chunks) });
    };
    // A response may be whole before its request is.
    stream.on("end", () => setImmediate(resolveWhole));
    stream.on("close", resolveWhole);
  });
}

/** HTTP/1.1, a connection for each request. */
export function rawHttp1(url: string): RawClient {
  const open = new Set<ClientRequest>();
  const ask = ({ path, method = "POST", headers = {}, body = [], isWhole = true }: RawQuestion): RawCall => {
    const request = request1(url + path, { method, headers, agent: false });
    open.add(request);
    const answer = new Promise<RawAnswer>((resolve, reject) => {
      request.on("error", reject);
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const { statusCode = 0, headers, trailers } = response;
          resolve({ status: statusCode, headers, trailers, body: Buffer.concat(chunks) });
        });
      });
    });
    for (const part of body) request.write(part);
    if (isWhole) request.end();
    else request.flushHeaders();
    return {
      answer,
      write: (part) => void request.write(part),
      end: () => void request.end(),
      leave: () => void request.destroy(),
    };
  };
  return Object.assign(ask, {
    [Symbol.dispose]() {
      for (const request of open) request.destroy();
    },
  });
}
