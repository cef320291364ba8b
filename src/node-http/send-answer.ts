import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { Stall } from "./stall.js";

/** An answer could not be sent because its caller has left, or takes nothing. */
export class NotTaken extends Error {
  override readonly name = "NotTaken";
}

/** The bytes that are written at a time, so that the progress of a large message can be seen. */
const PIECE_BYTES = 64 * 1024;

/** How often within the longest standstill it is looked for progress. */
const LOOKS = 8;

export interface SendOptions {
  /** For how long nothing of the answer may be taken, in milliseconds, before it is given up. */
  stalledMs: number;
  /** Told that it was. */
  onStalled: () => void;
}

/**
 * Sends an answer, no faster than its caller takes it, and resolves when it is sent: as Connect's own adapter does, but
 * that it gives up on a caller that takes nothing. Rejects with NotTaken then, and when its caller leaves; with any other
 * error when the answer breaks off.
 */
export async function sendAnswer(
  { status, header, body, trailer }: UniversalServerResponse,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  options: SendOptions,
): Promise<void> {
  const outgoing = new Outgoing(request, response, options);
  const chunks = body?.[Symbol.asyncIterator]();
  try {
    // Headers may be set until there is something to send.
    let step = await chunks?.next();
    response.writeHead(status, nodeHeaders(header));
    for (; step && !step.done; step = await chunks?.next()) await outgoing.write(step.value);
    if (trailer) response.addTrailers(nodeHeaders(trailer));
    await outgoing.end();
  } finally {
    outgoing.release();
    void chunks?.return?.().catch(() => {});
  }
}

/** The sending half of a call. */
class Outgoing {
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
    for (let at = 0; at < chunk.length || at === 0; at += PIECE_BYTES) {
      this.#checkOpen();
      if (!this.#response.write(chunk.subarray(at, at + PIECE_BYTES))) await this.#next();
      this.#stall?.moved();
    }
  }

  /** Resolves when all of it is sent. */
  async end(): Promise<void> {
    this.#checkOpen();
    this.#response.end();
    if (!this.#isSent) await this.#next();
  }

  release(): void {
    for (const event of EVENTS) this.#events.removeListener(event, this.#wake);
  }

  readonly #wake = (): void => this.#resume?.();

  get #isSent(): boolean {
    const { stream, httpVersionMajor } = this.#request;
    return httpVersionMajor === 2 ? stream.writableFinished : this.#response.writableFinished;
  }

  /** Resolves when there is room for more, or all is sent; rejects once the caller has left, or takes nothing. */
  #next(): Promise<void> {
    this.#stall ??= new Stall(this.#request);
    const stall = this.#stall;
    return new Promise((resolve, reject) => {
      const stop = () => {
        clearInterval(look);
        this.#resume = undefined;
      };
      const look = setInterval(() => {
        if (this.#isClosed || stall.look() < LOOKS) return;
        stop();
        this.#options.onStalled();
        reject(new NotTaken("nothing of the answer was taken for too long"));
      }, this.#options.stalledMs / LOOKS);
      look.unref();
      this.#resume = () => {
        stop();
        if (this.#isClosed && !this.#isSent) reject(new NotTaken("the caller has left"));
        else resolve();
      };
    });
  }

  get #isClosed(): boolean {
    const { stream, socket, httpVersionMajor } = this.#request;
    return httpVersionMajor === 2 ? stream.destroyed : socket.destroyed;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new NotTaken("the caller has left");
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
