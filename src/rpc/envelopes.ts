/** Connect's and gRPC's streams frame messages alike: a byte of flags, four bytes of length, the message. */
export const ENVELOPE_BYTES = 5;

/**
 * Returns a function that takes the chunks of a streaming body, and tells of each whether all messages up to there have
 * at most `maxBytes`.
 */
export function envelopesFit(maxBytes: number): (chunk: Uint8Array) => boolean {
  let headerBytes = 0;
  let length = 0;
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (headerBytes < ENVELOPE_BYTES) {
        length = headerBytes++ ? length * 256 + (chunk[at] as number) : 0;
        at++;
        if (length > maxBytes) return false;
      } else {
        const part = Math.min(length, chunk.length - at);
        at += part;
        length -= part;
      }
      if (headerBytes === ENVELOPE_BYTES && length === 0) headerBytes = 0;
    }
    return true;
  };
}
