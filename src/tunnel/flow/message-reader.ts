import type { Stream } from "./stream.js";

/** The messages of a stream's other half, in order: each is taken off the stream when it is asked for. For one reader. */
export class MessageReader<T> implements AsyncIterableIterator<T, undefined, undefined> {
  readonly #stream: Stream;
  readonly #decode: (bytes: Uint8Array) => T;
  readonly #onLeave: () => void;
  #waiting: { resolve(step: IteratorResult<T, undefined>): void; reject(error: unknown): void }[] = [];
  /** The first message, where it was asked for before there was a reader. */
  #first: { value: T } | undefined;
  #end: { error?: unknown } | undefined;

  /** `onLeave`: the reader has left before the end. */
  constructor(stream: Stream, decode: (bytes: Uint8Array) => T, onLeave: () => void) {
    this.#stream = stream;
    this.#decode = decode;
    this.#onLeave = onLeave;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#first) {
      const { value } = this.#first;
      this.#first = undefined;
      return Promise.resolve({ value, done: false });
    }
    const end = this.#end;
    if (end) {
      if (!("error" in end)) return Promise.resolve(DONE);
      // It is told once: whoever reads on is at the end.
      this.#end = {};
      return Promise.reject(end.error);
    }
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ resolve, reject }) === 1) this.#stream.pull();
    });
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#leave();
    return DONE;
  }

  async throw(error: unknown): Promise<IteratorResult<T, undefined>> {
    this.#leave();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** A message was taken off the stream. */
  push(bytes: Uint8Array): void {
    let value: T;
    try {
      value = this.#decode(bytes);
    } catch (error) {
      this.#stream.discardIncoming();
      this.close({ error });
      return;
    }
    const first = this.#waiting.shift();
    if (!first) {
      this.#first = { value };
      return;
    }
    first.resolve({ value, done: false });
    if (this.#waiting.length > 0) this.#stream.pull();
  }

  /** Nothing comes any more: all is well, or there is an error. Idempotent. */
  close(end: { error?: unknown } = {}): void {
    if (this.#end) return;
    const [first, ...others] = this.#waiting;
    this.#waiting = [];
    this.#end = first ? {} : end;
    if (first) {
      if ("error" in end) first.reject(end.error);
      else first.resolve(DONE);
    }
    for (const { resolve } of others) resolve(DONE);
  }

  #leave(): void {
    this.#first = undefined;
    if (this.#end) return;
    this.close();
    this.#stream.discardIncoming();
    this.#onLeave();
  }
}

const DONE = { value: undefined, done: true } as const;
