import type { Stream } from "./stream.js";

/** A call of next() that waits for a message. */
interface PendingRead<T> {
  resolve(step: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** Reads the messages of a stream in order; each is pulled when it is asked for. For one reader. */
export class MessageReader<T> implements AsyncIterableIterator<T, undefined, undefined> {
  readonly #stream: Stream;
  readonly #decode: (bytes: Uint8Array) => T;
  readonly #onReturn: () => void;
  #pending: PendingRead<T>[] = [];
  /** A message that was pulled before there was a reader. */
  #buffered: { value: T } | undefined;
  #end: { error?: unknown } | undefined;

  /** `onReturn` is called if the reader leaves before the end. */
  constructor(stream: Stream, decode: (bytes: Uint8Array) => T, onReturn: () => void) {
    this.#stream = stream;
    this.#decode = decode;
    this.#onReturn = onReturn;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#buffered) {
      const { value } = this.#buffered;
      this.#buffered = undefined;
      return Promise.resolve({ value, done: false });
    }
    const end = this.#end;
    if (end) {
      if (!("error" in end)) return Promise.resolve(DONE);
      // The error is thrown once; further reads are at the end.
      this.#end = {};
      return Promise.reject(end.error);
    }
    return new Promise((resolve, reject) => {
      if (this.#pending.push({ resolve, reject }) === 1) this.#stream.pull();
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

  /** Hands over a message that was pulled. */
  push(bytes: Uint8Array): void {
    let value: T;
    try {
      value = this.#decode(bytes);
    } catch (error) {
      this.#stream.discardIncoming();
      this.close({ error });
      return;
    }
    const first = this.#pending.shift();
    if (!first) {
      this.#buffered = { value };
      return;
    }
    first.resolve({ value, done: false });
    if (this.#pending.length > 0) this.#stream.pull();
  }

  /** Ends the messages, with `error` if there is one. Idempotent. */
  close(end: { error?: unknown } = {}): void {
    if (this.#end) return;
    const [first, ...others] = this.#pending;
    this.#pending = [];
    this.#end = first ? {} : end;
    if (first) {
      if ("error" in end) first.reject(end.error);
      else first.resolve(DONE);
    }
    for (const { resolve } of others) resolve(DONE);
  }

  #leave(): void {
    this.#buffered = undefined;
    if (this.#end) return;
    this.close();
    this.#stream.discardIncoming();
    this.#onReturn();
  }
}

const DONE = { value: undefined, done: true } as const;
