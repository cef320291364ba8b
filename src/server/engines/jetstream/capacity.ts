import type { StreamInfo } from "@nats-io/jetstream";
import { fullError } from "../shared/errors.js";
import type { StreamMessage } from "./message.js";
import type { JetStreamSession } from "./session.js";
import { type StreamPart, streamName } from "./streams.js";

/** The bytes that a message takes besides its value, subject and headers. */
const OVERHEAD_BYTES = 200;

/** After this time, the bytes are asked for again, as other servers write too. */
const REFRESH_MS = 1000;

/** The bound of a stream: which one, the engine's option that sets it, and what it bounds, for messages. */
export interface CapacityOptions {
  part: StreamPart;
  /** Infinite: only the cluster's limits apply. */
  most: number;
  option: string;
  content: string;
}

/**
 * The bound of a stream. The stream itself has some more room, so that with this bound reached there is still
 * room for the barriers of reads, and for deletes. A value that replaces another one needs room for both.
 */
export class Capacity {
  readonly #session: JetStreamSession;
  readonly #options: CapacityOptions;
  /** The bytes of the stream when it was asked, and those that this server has written since. */
  #bytes = 0;
  /** The bytes of writes under way. */
  #pending = 0;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;

  constructor(session: JetStreamSession, options: CapacityOptions) {
    this.#session = session;
    this.#options = options;
  }

  /** Runs `write`, which stores `messages`. Fails as EngineFault "full" if there is no room for them. */
  async admit<T>(messages: readonly StreamMessage[], write: () => Promise<T>): Promise<T> {
    if (!Number.isFinite(this.#options.most)) return await write();
    const size = messages.reduce((sum, message) => sum + sizeOf(message), 0);
    await this.#reserve(size);
    try {
      const result = await write();
      this.#bytes += size;
      return result;
    } finally {
      this.#pending -= size;
    }
  }

  async #reserve(size: number): Promise<void> {
    if (performance.now() - this.#askedAtMs > REFRESH_MS) await this.#refresh();
    // Replaced values count until the stream is asked.
    if (this.#exceeds(size)) await this.#refresh();
    if (this.#exceeds(size)) {
      const { option, most, content } = this.#options;
      throw fullError(option, most, `${content} of the JetStream engine together`);
    }
    this.#pending += size;
  }

  #exceeds(size: number): boolean {
    return this.#bytes + this.#pending + size > this.#options.most;
  }

  #refresh(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<void> {
    const method = `STREAM.INFO.${streamName(this.#session.name, this.#options.part)}`;
    const { state } = await this.#session.api<StreamInfo>(method);
    this.#bytes = state.bytes;
    this.#askedAtMs = performance.now();
  }
}

const sizeOf = ({ subject, data, headers }: StreamMessage): number =>
  headers.reduce(
    (sum, [name, value]) => sum + name.length + value.length + 4,
    OVERHEAD_BYTES + subject.length + data.length,
  );
