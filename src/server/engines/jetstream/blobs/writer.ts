import { createHash } from "node:crypto";
import { type Backoff, jitteredMs } from "../../../../lib/backoff.js";
import { rechunk } from "../../../../lib/rechunk.js";
import { delay } from "../../../../lib/timer.js";
import { type BlobInfo, EngineFault } from "../../../engine.js";
import { closedError } from "../../shared/errors.js";
import { ConditionError } from "../errors.js";
import type { StreamMessage } from "../message.js";
import { ROLLUP } from "../stream-reader.js";
import { type BlobContent, decodeRecord, encodeRecord, type StoredBlob } from "./record.js";
import { ChunkUpload, lapsedError, type UploadOptions } from "./upload.js";

/** The size of the chunks of a blob, if the cluster takes messages of that size. */
const CHUNK_BYTES = 512 * 1024;

/** The most bytes of a message's subject and headers. */
const MAX_OVERHEAD_BYTES = 8 * 1024;

/** A blob of up to this size is in the message with its metadata. */
const INLINE_BYTES = 8 * 1024;

/** The message that says that a blob was deleted is removed after this time. */
const DELETED_TTL = "60s";

/** The delay after another server has changed the same blob first. */
const CONFLICT: Backoff = { minMs: 2, maxMs: 100 };

/** The sequence of the last message of a blob's subject (0: no message), and the blob that it has. */
interface Present {
  sequence: number;
  blob: StoredBlob | undefined;
}

/** A content that has been received and stored, except for the blob's metadata. */
interface Received {
  size: number;
  sha256: string;
  content: BlobContent;
  upload: ChunkUpload | undefined;
}

export interface BlobWriterOptions extends UploadOptions {
  /** Aborts when the engine closes. */
  closing: AbortSignal;
}

/** Stores and deletes blobs. */
export class BlobWriter {
  readonly #options: BlobWriterOptions;
  readonly #uploads = new Set<ChunkUpload>();
  /** The writes of metadata that are under way. */
  readonly #writes = new Set<Promise<unknown>>();

  constructor(options: BlobWriterOptions) {
    this.#options = options;
  }

  /** The blob as it is now: with what was acknowledged before the call, to any server. */
  async find(name: string): Promise<StoredBlob | undefined> {
    return (await this.#present(name, true)).blob;
  }

  /** As put() of BlobStore. */
  async put(
    name: string,
    content: AsyncIterable<Uint8Array>,
    { metadata, ifAbsent }: { metadata: Record<string, string>; ifAbsent: boolean },
  ): Promise<BlobInfo | undefined> {
    if (ifAbsent && (await this.find(name))) return undefined;
    let upload: ChunkUpload | undefined;
    const openUpload = async () => {
      upload = await ChunkUpload.open(this.#options);
      this.#uploads.add(upload);
      return upload;
    };
    let isStored = false;
    try {
      const received = await this.#receive(content, openUpload);
      this.#checkOpen();
      const info = await this.#track(this.#store(name, received, { ...metadata }, ifAbsent));
      isStored = info !== undefined;
      return info;
    } finally {
      if (upload) this.#end(upload, isStored);
    }
  }

  /** As delete() of BlobStore. */
  async delete(name: string): Promise<boolean> {
    const remove = async ({ sequence, blob }: Present) => {
      if (!blob) return false;
      const deleted = this.#metadataMessage(name, new Uint8Array(0), sequence, [["Nats-TTL", DELETED_TTL]]);
      await this.#publish([deleted, ...this.#removalNotes(blob)]);
      return true;
    };
    return await this.#track(this.#whenUncontended(name, remove, (present) => present.blob === undefined));
  }

  /** Uploads whose content has not ended fail when their next bytes come. Their chunks are removed now. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#writes);
    await Promise.allSettled([...this.#uploads].map((upload) => upload.abandon()));
  }

  /** The last message of the blob's subject: the current one, or one that some replica has. */
  async #present(name: string, isCurrent: boolean): Promise<Present> {
    const subject = this.#options.subjects.metadata(name);
    const messages = await (isCurrent
      ? this.#options.reader.latest([subject])
      : this.#options.reader.lastOf([subject], 0));
    const message = messages.get(subject);
    return { sequence: message?.sequence ?? 0, blob: decodeRecord(message) };
  }

  /** Reads the content to its end and stores its chunks, unless it is small. */
  async #receive(
    content: AsyncIterable<Uint8Array>,
    openUpload: () => Promise<ChunkUpload>,
  ): Promise<Received> {
    const hash = createHash("sha256");
    const chunkBytes = this.#chunkBytes();
    let size = 0;
    let data = new Uint8Array(0);
    let upload: ChunkUpload | undefined;
    for await (const piece of rechunk(content, chunkBytes)) {
      this.#checkOpen();
      hash.update(piece);
      size += piece.length;
      // Only the last piece is shorter than a chunk.
      if (size <= INLINE_BYTES && size < chunkBytes) data = new Uint8Array(piece);
      else {
        upload ??= await openUpload();
        await upload.add(piece);
      }
    }
    await upload?.finish();
    const stored: BlobContent = upload
      ? { type: "chunks", id: upload.id, chunkBytes }
      : { type: "inline", data };
    return { size, sha256: hash.digest("hex"), content: stored, upload };
  }

  /** Stores the metadata; undefined if the name is taken. */
  async #store(
    name: string,
    { size, sha256, content, upload }: Received,
    metadata: Record<string, string>,
    ifAbsent: boolean,
  ): Promise<BlobInfo | undefined> {
    const replace = async ({ sequence, blob }: Present) => {
      if (ifAbsent && blob) return undefined;
      const info = { name, size, sha256, modifiedMs: this.#options.session.clock.wall(), metadata };
      const stored = this.#metadataMessage(name, encodeRecord({ info, content }), sequence, []);
      const notes = [...(upload ? [upload.storedNote()] : []), ...this.#removalNotes(blob)];
      await this.#options.capacity.admit([stored], () => this.#publish([stored, ...notes]));
      return info;
    };
    return await this.#whenUncontended(name, replace, ({ blob }) => ifAbsent && blob !== undefined, upload);
  }

  /**
   * Calls `write` with the blob that is present, until no other write comes between. If `mustBeCurrent`, no message
   * checks what was read, so that it is read from an up-to-date replica.
   */
  async #whenUncontended<T>(
    name: string,
    write: (present: Present) => Promise<T>,
    mustBeCurrent: (present: Present) => boolean,
    upload?: ChunkUpload,
  ): Promise<T> {
    const deadlineMs = performance.now() + this.#options.session.waitMs;
    for (let failures = 1; ; failures++) {
      try {
        const present = await this.#present(name, failures > 1);
        return await write(mustBeCurrent(present) ? await this.#present(name, true) : present);
      } catch (error) {
        if (!(error instanceof ConditionError)) throw error;
        if (upload && !(await this.#isOpen(upload))) throw lapsedError();
        if (performance.now() > deadlineMs) {
          const reason = `other servers have changed the same blob for ${this.#options.session.waitMs} ms`;
          throw new EngineFault("unavailable", reason);
        }
        await delay(jitteredMs(CONFLICT, failures), this.#options.session.closing);
      }
    }
  }

  /** Whether no other server has taken over the upload. */
  async #isOpen(upload: ChunkUpload): Promise<boolean> {
    const subject = this.#options.subjects.upload(upload.id);
    return upload.isNote((await this.#options.reader.latest([subject])).get(subject)?.sequence);
  }

  /** Stores one message, or several at once. */
  async #publish(messages: readonly [StreamMessage, ...StreamMessage[]]): Promise<void> {
    if (messages.length === 1) await this.#options.session.publish(messages[0]);
    else await this.#options.session.publishBatch(messages, { fence: this.#options.subjects.fence });
  }

  #metadataMessage(
    name: string,
    data: Uint8Array,
    expected: number,
    headers: StreamMessage["headers"],
  ): StreamMessage {
    const condition = ["Nats-Expected-Last-Subject-Sequence", String(expected)] as const;
    return {
      subject: this.#options.subjects.metadata(name),
      data,
      headers: [...ROLLUP, condition, ...headers],
    };
  }

  /** The note that the blob's content is no longer needed, if it is in chunks. */
  #removalNotes(blob: StoredBlob | undefined): StreamMessage[] {
    if (blob?.content.type !== "chunks") return [];
    return [
      { subject: this.#options.subjects.removal(blob.content.id), data: new Uint8Array(0), headers: ROLLUP },
    ];
  }

  #chunkBytes(): number {
    const most = this.#options.session.nc.info?.max_payload ?? CHUNK_BYTES;
    return Math.min(CHUNK_BYTES, most - MAX_OVERHEAD_BYTES);
  }

  /** Ends an upload. If its blob was not stored, its chunks are removed, now or by the next sweep of any server. */
  #end(upload: ChunkUpload, isStored: boolean): void {
    const removing = isStored ? Promise.resolve() : upload.abandon();
    const done = removing
      .catch((err: unknown) => {
        if (this.#options.closing.aborted) return;
        this.#options.session.log.warn(
          { err },
          "the chunks of a failed upload still take space, and will be freed later",
        );
      })
      .finally(() => this.#uploads.delete(upload));
    void this.#track(done);
  }

  /** Lets close() wait for `write`. */
  #track<T>(write: Promise<T>): Promise<T> {
    this.#writes.add(write);
    const forget = () => this.#writes.delete(write);
    write.then(forget, forget);
    return write;
  }

  #checkOpen(): void {
    if (this.#options.closing.aborted) throw closedError("jetstream");
  }
}
