/** How much of the server-wide limits one connection, one subject or a group of callers uses at the moment. */
export interface Usage {
  /** Its open calls. */
  calls: number;
  /** The open calls whose caller is identified, or needs no credentials because access control is off. */
  identifiedCalls: number;
  /** Bytes received of messages that are not complete yet. */
  arrivingBytes: number;
  /** Bytes of answers that are not sent yet. */
  leavingBytes: number;
  /** Bytes of answers that wait until `leavingBytes` has room for them. */
  waitingBytes: number;
}

/** A usage of nothing, to count from. */
export const noUsage = (): Usage => ({
  calls: 0,
  identifiedCalls: 0,
  arrivingBytes: 0,
  leavingBytes: 0,
  waitingBytes: 0,
});
