import { randomId } from "../../../../lib/random-id.js";
import { utf8 } from "../../../../lib/utf8.js";
import { EngineFault } from "../../../engine.js";
import type { Capacity } from "../capacity.js";
import { ConditionError } from "../errors.js";
import type { StreamMessage } from "../message.js";
import type { JetStreamSession } from "../session.js";
import { ROLLUP, type StreamReader } from "../stream-reader.js";
import type { BlobSubjects } from "./subjects.js";
import type { BlobTiming } from "./timing.js";

/** How many chunks are sent before the first one is acknowledged. */
const CHUNKS_IN_FLIGHT = 6;

/** The state of an upload, which is the payload of its note. */
export type UploadState = "open" | "abandoned" | "stored";

/** The note that an upload is stored is removed after this time. */
const STORED_TTL = "60s";

export interface UploadOptions {
  session: JetStreamSession;
  reader: StreamReader;
  subjects: BlobSubjects;
  timing: BlobTiming;
  capacity: Capacity;
}

/**
 * The upload of one content, in chunks. A note says that it is open, and is repeated: if that ends, the server has
 * failed, and another one removes the chunks.
 */
export class ChunkUpload {
  /** The content's id, which no other has. */
  readonly id = randomId();
  readonly #options: UploadOptions;
  readonly #inFlight = new Set<Promise<unknown>>();
  #chunks = 0;
  /** The sequence of the note. */
  #note = 0;
  #error: unknown;
  #renewing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: UploadOptions) {
    this.#options = options;
  }

  static async open(options: UploadOptions): Promise<ChunkUpload> {
    const upload = new ChunkUpload(options);
    await upload.#renew(0);
    upload.#timer = setInterval(() => {
      upload.#renewing ??= upload.#renewLater();
    }, options.timing.renewMs);
    upload.#timer.unref();
    return upload;
  }

  /** Sends the next chunk. Waits while too many are on their way. */
  async add(data: Uint8Array): Promise<void> {
    while (this.#inFlight.size >= CHUNKS_IN_FLIGHT) await Promise.race(this.#inFlight);
    this.#checkState();
    const { session, subjects, capacity } = this.#options;
    const message = { subject: subjects.chunk(this.id, this.#chunks++), data, headers: [] };
    const sending = capacity
      .admit([message], () => session.publish(message))
      .then(
        () => {},
        (error: unknown) => {
          this.#error ??= error;
        },
      );
    this.#inFlight.add(sending);
    void sending.then(() => this.#inFlight.delete(sending));
  }

  /** Resolves when all chunks are stored. The note is not repeated any more. */
  async finish(): Promise<void> {
    await this.#stop();
    this.#checkState();
  }

  /** The message that ends the upload, to be stored together with the blob's metadata. */
  storedNote(): StreamMessage {
    return this.#noteOf("stored", [
      ["Nats-Expected-Last-Subject-Sequence", String(this.#note)],
      ["Nats-TTL", STORED_TTL],
    ]);
  }

  /** Whether the note of this upload is the last one, by the sequence of that. */
  isNote(sequence: number | undefined): boolean {
    return sequence === this.#note;
  }

  /** Removes the chunks. The note stays for a while, so that a chunk that comes late is removed as well. */
  async abandon(): Promise<void> {
    await this.#stop();
    const { session, reader, subjects } = this.#options;
    await session.publishRepeatedly(this.#noteOf("abandoned", []));
    await reader.purge(subjects.chunks(this.id));
  }

  async #stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
    await Promise.all(this.#inFlight);
  }

  async #renewLater(): Promise<void> {
    try {
      await this.#renew(this.#note);
    } catch (error) {
      if (error instanceof ConditionError) this.#error ??= lapsedError();
      // Otherwise the next time may succeed, or the upload fails by itself.
    } finally {
      this.#renewing = undefined;
    }
  }

  async #renew(expected: number): Promise<void> {
    const condition = ["Nats-Expected-Last-Subject-Sequence", String(expected)] as const;
    this.#note = (await this.#options.session.publish(this.#noteOf("open", [condition]))).sequence;
  }

  #noteOf(state: UploadState, headers: StreamMessage["headers"]): StreamMessage {
    return {
      subject: this.#options.subjects.upload(this.id),
      data: utf8(state),
      headers: [...ROLLUP, ...headers],
    };
  }

  #checkState(): void {
    if (this.#error !== undefined) throw this.#error;
  }
}

/** The error of an upload whose chunks another server has removed. */
export const lapsedError = (): EngineFault =>
  new EngineFault(
    "unavailable",
    "the upload was removed, as its server could not reach the cluster for a long time",
  );
