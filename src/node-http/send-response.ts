import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { UncopiedMessages } from "../rpc/uncopied-messages.js";
import { Stall } from "./stall.js";

/** The error of a response that could not be sent: its caller has left, or reads nothing. */
export class ResponseNotRead extends Error {
  override readonly name = "ResponseNotRead";
}

/** The bytes that are written at once, so that the progress of a large message can be seen. */
const CHUNK_BYTES = 64 * 1024;

/** How often progress is checked within `stalledMs`. */
const CHECKS = 8;

export interface SendOptions {
  /** The messages of the body, if they are sent without copies. */
  uncopied?: UncopiedMessages | undefined;
  /** How long the caller may read nothing of the response before it is canceled, in milliseconds. */
  stalledMs: number;
  /** Runs when it is canceled for that. */
  onStalled: () => void;
}

/**
 * Sends a response, no faster than its caller reads it, and resolves when it is sent. Unlike Connect's own adapter, it
 * cancels the response if the caller reads nothing. Rejects with ResponseNotRead then, and when the caller leaves; with
 * other errors when the response fails.
 */
export async function sendResponse(
  { status, header, body, trailer }: UniversalServerResponse,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  options: SendOptions,
): Promise<void> {
  const output = new ResponseOutput(request, response, options);
  const chunks = body?.[Symbol.asyncIterator]();
  try {
    // The handler may set headers until its first chunk.
    let step = await chunks?.next();
    response.writeHead(status, nodeHeaders(header));
    for (; step && !step.done; step = await chunks?.next()) await output.write(step.value);
    if (trailer) response.addTrailers(nodeHeaders(trailer));
    await output.end();
  } finally {
    output.release();
    void chunks?.return?.().catch(() => {});
  }
}

/** The output of one response, with flow control. */
class ResponseOutput {
  readonly #request: Http2ServerRequest;
  readonly #response: Http2ServerResponse;
  /** Emits "drain", "finish" and "close". */
  readonly #events: Pick<NodeJS.EventEmitter, "on" | "removeListener">;
  readonly #options: SendOptions;
  #stall: Stall | undefined;
  #resume: (() => void) | undefined;

  constructor(request: Http2ServerRequest, response: Http2ServerResponse, options: SendOptions) {
    this.#request = request;
    this.#response = response;
    this.#options = options;
    this.#events = request.httpVersionMajor === 2 ? response.stream : response;
    for (const event of EVENTS) this.#events.on(event, this.#wake);
  }

  async write(chunk: Uint8Array): Promise<void> {
    const [head, bytes = head] = this.#options.uncopied?.join(chunk) ?? [chunk];
    for (let at = 0; at < bytes.length || at === 0; at += CHUNK_BYTES) {
      this.#checkOpen();
      const part = bytes.subarray(at, at + CHUNK_BYTES);
      const hasRoom = at === 0 && bytes !== head ? this.#writeBoth(head, part) : this.#response.write(part);
      if (!hasRoom) await this.#waitForRoom();
      this.#stall?.reset();
    }
  }

  /** Writes both at once to the socket. */
  #writeBoth(head: Uint8Array, bytes: Uint8Array): boolean {
    // Over HTTP/1.1 Node does that by itself. From Node 26 on, a response that was corked may never emit "drain".
    const isHttp2 = this.#request.httpVersionMajor === 2;
    if (isHttp2) this.#response.cork();
    this.#response.write(head);
    const hasRoom = this.#response.write(bytes);
    if (isHttp2) this.#response.uncork();
    return hasRoom;
  }

  /** Resolves when the whole response is sent. */
  async end(): Promise<void> {
    this.#checkOpen();
    this.#response.end();
    if (!this.#isSent) await this.#waitForRoom();
  }

  release(): void {
    for (const event of EVENTS) this.#events.removeListener(event, this.#wake);
  }

  readonly #wake = (): void => this.#resume?.();

  get #isSent(): boolean {
    const { stream, httpVersionMajor } = this.#request;
    return httpVersionMajor === 2 ? stream.writableFinished : this.#response.writableFinished;
  }

  /** Resolves when there is room for more, or all is sent; rejects when the caller has left, or reads nothing. */
  #waitForRoom(): Promise<void> {
    this.#stall ??= new Stall(this.#request);
    const stall = this.#stall;
    return new Promise((resolve, reject) => {
      const stop = () => {
        clearInterval(timer);
        this.#resume = undefined;
      };
      const timer = setInterval(() => {
        if (this.#isQueued) stall.reset();
        if (this.#isClosed || stall.check() < CHECKS) return;
        stop();
        this.#options.onStalled();
        reject(new ResponseNotRead("nothing of the answer was taken for too long"));
      }, this.#options.stalledMs / CHECKS);
      timer.unref();
      this.#resume = () => {
        stop();
        if (this.#isClosed && !this.#isSent) reject(new ResponseNotRead("the caller has left"));
        else resolve();
      };
    });
  }

  /** Whether the response waits for those of earlier requests, which were pipelined over HTTP/1.1. */
  get #isQueued(): boolean {
    return this.#request.httpVersionMajor === 1 && this.#response.socket === null;
  }

  get #isClosed(): boolean {
    const { stream, socket, httpVersionMajor } = this.#request;
    return httpVersionMajor === 2 ? stream.destroyed : socket.destroyed;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ResponseNotRead("the caller has left");
  }
}

const EVENTS = ["drain", "finish", "close", "error"] as const;

function nodeHeaders(headers: Headers | undefined): Record<string, string | string[]> {
  const all: Record<string, string | string[]> = Object.create(null);
  headers?.forEach((value, name) => {
    all[name] = name === "set-cookie" ? (headers as Headers).getSetCookie() : value;
  });
  return all;
}
