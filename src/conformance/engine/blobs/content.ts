import { utf8 } from "../../../lib/utf8.js";
import type { BlobStore } from "../../../server/engine.js";
import { collect } from "../reader.js";

type PutOptions = { metadata?: Record<string, string>; ifAbsent?: boolean };
export const put = (
  blobs: BlobStore,
  name: string,
  content: AsyncIterable<Uint8Array> | string,
  { metadata = {}, ifAbsent = false }: PutOptions = {},
) =>
  blobs.put(name, typeof content === "string" ? streamOfChunks([utf8(content)]) : content, {
    metadata,
    ifAbsent,
  });
export async function* streamOfChunks(chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

export async function concatChunks(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts = await collect(chunks);
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export async function read(
  blobs: BlobStore,
  name: string,
  range?: { offset: number; length?: number },
): Promise<Uint8Array | undefined> {
  const blob = await blobs.get(name, range);
  return blob && concatChunks(blob.content);
}
