/**
 * Tells of each chunk of a body with messages in envelopes whether none has more than `most` bytes. An envelope is a byte
 * of flags and the length, as Connect's streams and gRPC have it.
 */
export function envelopesFit(most: number): (chunk: Uint8Array) => boolean {
  let head = 0;
  let length = 0;
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (head < 5) {
        length = head++ ? length * 256 + (chunk[at] as number) : 0;
        at++;
        if (length > most) return false;
      } else {
        const part = Math.min(length, chunk.length - at);
        at += part;
        length -= part;
      }
      if (head === 5 && length === 0) head = 0;
    }
    return true;
  };
}
