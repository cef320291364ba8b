/** How much of the server-wide limits one connection, one subject or a group of callers uses at the moment. */
export interface Usage {
  /** Its open calls. */
  calls: number;
  /** Those of them whose caller has been let in with credentials, or needs none because access control is off. */
  identifiedCalls: number;
  /** The bytes that have come of messages that are not whole yet. */
  arrivingBytes: number;
  /** The bytes of answers that are not sent yet. */
  leavingBytes: number;
  /** The bytes of answers that wait until there is room among those. */
  waitingBytes: number;
}

export const noUsage = (): Usage => ({
  calls: 0,
  identifiedCalls: 0,
  arrivingBytes: 0,
  leavingBytes: 0,
  waitingBytes: 0,
});
