import { createHash } from "node:crypto";
import { EngineFault } from "../../../engine.js";
import { ClusterError } from "../errors.js";
import type { StreamReader } from "../stream-reader.js";
import type { StoredBlob } from "./record.js";
import type { BlobSubjects } from "./subjects.js";

/** How many chunks one request reads. The next request is sent when the reader takes the first of them. */
const CHUNKS_PER_REQUEST = 2;

type ChunkedBlob = StoredBlob & { content: { type: "chunks" } };

/** The bytes of the blob from `start` up to `end`. The hash of a blob that is read as a whole is checked. */
export async function* readContent(
  blob: StoredBlob,
  { start, end }: { start: number; end: number },
  reader: StreamReader,
  subjects: BlobSubjects,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { info, content } = blob;
  if (start >= end) return;
  if (content.type === "inline") {
    yield content.data.subarray(start, end);
    return;
  }
  const chunked: ChunkedBlob = { ...blob, content };
  const hash = start === 0 && end === info.size ? createHash("sha256") : undefined;
  const first = Math.floor(start / content.chunkBytes);
  const behind = Math.ceil(end / content.chunkBytes);
  for await (const [index, chunk] of readChunks(chunked, first, behind, reader, subjects)) {
    const from = index * content.chunkBytes;
    const part = chunk.subarray(Math.max(0, start - from), end - from);
    hash?.update(part);
    if (hash && index === behind - 1 && hash.digest("hex") !== info.sha256) {
      throw new ClusterError(
        `The blob ${JSON.stringify(info.name)} is damaged: its SHA-256 is not ${info.sha256}`,
      );
    }
    yield part;
  }
}

/** The chunks with the indexes from `first` up to `behind`, exclusive. */
async function* readChunks(
  blob: ChunkedBlob,
  first: number,
  behind: number,
  reader: StreamReader,
  subjects: BlobSubjects,
): AsyncGenerator<[index: number, chunk: Uint8Array], void, undefined> {
  const request = (from: number) => {
    const to = Math.min(from + CHUNKS_PER_REQUEST, behind);
    const some = requestChunks(blob, from, to, reader, subjects);
    // Its error is thrown when the reader gets there, if it does.
    some.catch(() => {});
    return some;
  };
  let ahead = request(first);
  for (let from = first; from < behind; from += CHUNKS_PER_REQUEST) {
    const chunks = await ahead;
    if (from + CHUNKS_PER_REQUEST < behind) ahead = request(from + CHUNKS_PER_REQUEST);
    for (const [i, chunk] of chunks.entries()) yield [from + i, chunk];
  }
}

async function requestChunks(
  { sequence, info, content: { id, chunkBytes } }: ChunkedBlob,
  first: number,
  behind: number,
  reader: StreamReader,
  subjects: BlobSubjects,
): Promise<Uint8Array[]> {
  const wanted = Array.from({ length: behind - first }, (_, i) => subjects.chunk(id, first + i));
  // A replica that has the blob's metadata has all chunks.
  const messages = await reader.lastOf(wanted, sequence);
  return wanted.map((subject, i) => {
    const data = messages.get(subject)?.data;
    const length = Math.min(chunkBytes, info.size - (first + i) * chunkBytes);
    if (data?.length === length) return data;
    const name = JSON.stringify(info.name);
    throw data
      ? new ClusterError(
          `The blob ${name} is damaged: chunk ${first + i} has ${data.length} bytes, not ${length}`,
        )
      : new EngineFault(
          "unavailable",
          `the content of ${name} was removed: the blob was replaced or deleted, and for a long time this server ` +
            "could not tell the cluster that it was still reading it",
        );
  });
}
