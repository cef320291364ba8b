/** The size of the pieces of a file in messages of PutFile and GetFile. */
export const PIECE_BYTES = 64 * 1024;

/**
 * The bytes of `chunks` in pieces of `size`; only the last one may be shorter. Small chunks are joined and large ones
 * split. Reads no chunk that the next piece does not need.
 */
export async function* rechunk(chunks: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let piece: Uint8Array | undefined;
  let filled = 0;
  for await (const chunk of chunks) {
    let at = 0;
    while (at < chunk.length) {
      if (filled === 0 && chunk.length - at >= size) {
        yield chunk.subarray(at, (at += size));
        continue;
      }
      piece ??= new Uint8Array(size);
      const part = chunk.subarray(at, at + size - filled);
      piece.set(part, filled);
      at += part.length;
      filled += part.length;
      if (filled < size) continue;
      yield piece;
      piece = undefined;
      filled = 0;
    }
  }
  // A copy, so that a reader that keeps a small file does not keep the buffer of a whole piece.
  if (piece && filled > 0) yield piece.slice(0, filled);
}
