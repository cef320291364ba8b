import { compareUtf8 } from "../../../lib/compare-utf8.js";
import type { BlobInfo, BlobStore } from "../../engine.js";
import { closedError } from "../shared/errors.js";
import { ContentCollector } from "./blobs/collector.js";
import { readContent } from "./blobs/content.js";
import { Readings } from "./blobs/readings.js";
import { decodeRecord } from "./blobs/record.js";
import { BlobSubjects } from "./blobs/subjects.js";
import { BLOB_TIMING, type BlobTiming } from "./blobs/timing.js";
import { BlobWriter } from "./blobs/writer.js";
import type { JETSTREAM_BOUNDS } from "./bounds.js";
import { Capacity } from "./capacity.js";
import type { JetStreamSession } from "./session.js";
import { StreamReader } from "./stream-reader.js";

/** How many blobs of a list are read at once. */
const LIST_BLOBS = 64;

/**
 * The blobs of the JetStream engine. The last message of a blob's subject has its metadata, and the content of a small
 * blob. A large content is in chunks under an id of its own, and never changes: to replace a blob is one message.
 *
 * A content that no blob has any more is removed later. The atomic batch that replaces or deletes a blob leaves a note
 * about the old content; readers that take long leave notes as well; and every server removes what only lapsed notes
 * are about. So reads that are over soon, nearly all, write nothing, and a failed server leaves nothing behind.
 */
export class JetStreamBlobs implements BlobStore {
  readonly #reader: StreamReader;
  readonly #subjects: BlobSubjects;
  readonly #writer: BlobWriter;
  readonly #readings: Readings;
  readonly #collector: ContentCollector;
  readonly #closing = new AbortController();

  constructor(
    session: JetStreamSession,
    { maxBlobBytes }: Readonly<Pick<Record<keyof typeof JETSTREAM_BOUNDS, number>, "maxBlobBytes">>,
    timing: BlobTiming = BLOB_TIMING,
  ) {
    this.#reader = new StreamReader(session, "blobs");
    this.#subjects = new BlobSubjects(this.#reader.prefix);
    const shared = { session, reader: this.#reader, subjects: this.#subjects, timing };
    const capacity = new Capacity(session, {
      part: "blobs",
      most: maxBlobBytes,
      option: "maxBlobBytes",
      content: "all blobs",
    });
    this.#writer = new BlobWriter({ ...shared, capacity, closing: this.#closing.signal });
    this.#readings = new Readings(shared);
    this.#collector = new ContentCollector(shared);
  }

  async put(
    name: string,
    content: AsyncIterable<Uint8Array>,
    options: { metadata: Record<string, string>; ifAbsent: boolean },
  ): Promise<BlobInfo | undefined> {
    this.#checkOpen();
    return await this.#writer.put(name, content, options);
  }

  async get(name: string, { offset, length }: { offset: number; length?: number } = { offset: 0 }) {
    this.#checkOpen();
    const blob = await this.#writer.find(name);
    if (!blob) return undefined;
    const { info } = blob;
    const end = length === undefined ? info.size : Math.min(info.size, offset + length);
    const chunks = this.#whileOpen(readContent(blob, { start: offset, end }, this.#reader, this.#subjects));
    const content = blob.content.type === "chunks" ? this.#readings.hold(blob.content.id, chunks) : chunks;
    return { info, content };
  }

  async stat(name: string): Promise<BlobInfo | undefined> {
    this.#checkOpen();
    return (await this.#writer.find(name))?.info;
  }

  async *list(prefix: string, after?: string): AsyncGenerator<BlobInfo, void, undefined> {
    this.#checkOpen();
    const least = await this.#reader.barrier();
    const isListed = (name: string) =>
      name.startsWith(prefix) && (after === undefined || compareUtf8(name, after) > 0);
    const names = (await this.#names(prefix, least)).filter(isListed).sort(compareUtf8);
    for (let i = 0; i < names.length; i += LIST_BLOBS) {
      const subjects = names.slice(i, i + LIST_BLOBS).map((name) => this.#subjects.metadata(name));
      const messages = await this.#reader.lastOf(subjects, least);
      for (const subject of subjects) {
        const blob = decodeRecord(messages.get(subject));
        this.#checkOpen();
        if (blob) yield blob.info;
      }
    }
  }

  async delete(name: string): Promise<boolean> {
    this.#checkOpen();
    return await this.#writer.delete(name);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#readings.close();
    await this.#collector.close();
    await this.#writer.close();
  }

  #checkOpen(): void {
    if (this.#closing.signal.aborted) throw closedError("jetstream");
  }

  /** The names of all blobs whose names may start with `prefix`, and of some that were deleted. */
  async #names(prefix: string, least: number): Promise<string[]> {
    const subjects = await this.#reader.subjects(this.#subjects.metadataUnder(prefix), least);
    const names: string[] = [];
    const hashed: string[] = [];
    for (const subject of subjects) {
      const name = this.#subjects.nameOf(subject);
      if (name === undefined) hashed.push(subject);
      else names.push(name);
    }
    for (const message of (await this.#reader.lastOf(hashed, least)).values()) {
      const blob = decodeRecord(message);
      if (blob) names.push(blob.info.name);
    }
    return names;
  }

  async *#whileOpen(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of chunks) {
      this.#checkOpen();
      yield chunk;
    }
  }
}
