/**
 * `bytes`, copied where they are a small part of a larger buffer: what is kept shall not hold on to the request that
 * it came in.
 */
export function compactBytes(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength > 2 * bytes.byteLength + 64 ? new Uint8Array(bytes) : bytes;
}
