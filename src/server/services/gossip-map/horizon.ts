/**
 * The engine's record of a map keeps the horizon: when the latest of the removed tombstones was written, in Unix
 * milliseconds. A member that was in sync for the last time before that may lack a tombstone that nobody has any more.
 */
export function encodeHorizon(horizonMs: number): Uint8Array {
  if (horizonMs <= 0) return new Uint8Array();
  const record = new Uint8Array(8);
  new DataView(record.buffer).setFloat64(0, horizonMs);
  return record;
}

/** The horizon in a record; 0 if it has none. */
export function decodeHorizon(record: Uint8Array | undefined): number {
  if (record?.length !== 8) return 0;
  return new DataView(record.buffer, record.byteOffset).getFloat64(0);
}
