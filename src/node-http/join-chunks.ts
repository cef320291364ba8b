/**
 * The bytes of `chunks` as one Uint8Array. Not a Buffer: the bytes fields of messages are views of it, and callers
 * expect a Uint8Array, whose slice() copies.
 */
export function joinChunks(chunks: readonly Uint8Array[]): Uint8Array {
  const [first = new Uint8Array()] = chunks;
  const { buffer, byteOffset, byteLength } = chunks.length > 1 ? Buffer.concat(chunks) : first;
  return new Uint8Array(buffer, byteOffset, byteLength);
}
