/**
 * Copies `bytes` if they are a small part of a larger buffer: a stored value must not keep the request's buffer in
 * memory. Otherwise returns them as they are.
 */
export function compactBytes(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength > 2 * bytes.byteLength + 64 ? new Uint8Array(bytes) : bytes;
}
