/** Times by which servers tell each other that a content is in use, in milliseconds. */
export interface BlobTiming {
  /** How often a server repeats its note about an upload or a long read. */
  renewMs: number;
  /**
   * A note that has not been repeated for this long is from a server that has failed, and a content that no blob has is
   * removed after it. It is far more than `renewMs`, so that a server which stops for seconds loses nothing.
   */
  lapseMs: number;
  /** The mean time between two sweeps of a server. */
  sweepMs: number;
}

export const BLOB_TIMING: BlobTiming = { renewMs: 5000, lapseMs: 30_000, sweepMs: 10_000 };
