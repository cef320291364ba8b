import type { ClockState } from "../shared/clock.js";

/** Where the tree keeps its books. */
export const METADATA_KEY = "c";

/** The bytes that count for a bound of the engine, by what they are of. */
export type StoreUsage = { keys: number; blobs: number };

/** What each write of the tree keeps anew, in the same batch: so it is always that of all writes in front of it. */
export type Metadata = {
  /** The highest version that was given out. */
  counter: bigint;
  clock: ClockState | undefined;
  /** Undefined where the last version that wrote to the folder did not count. */
  usage: StoreUsage | undefined;
};

const BYTES = 48;

export function encodeMetadata(
  counter: bigint,
  { timeMs, wallMs, openMs }: ClockState,
  usage: StoreUsage,
): Buffer {
  const bytes = Buffer.allocUnsafe(BYTES);
  bytes.writeBigUInt64LE(counter);
  for (const [i, number] of [timeMs, wallMs, openMs, usage.keys, usage.blobs].entries()) {
    bytes.writeDoubleLE(number, 8 * (i + 1));
  }
  return bytes;
}

/** What was kept; undefined: nothing was ever written. */
export function decodeMetadata(bytes: Buffer | undefined): Metadata {
  if (!bytes) return { counter: 0n, clock: undefined, usage: { keys: 0, blobs: 0 } };
  const counter = bytes.readBigUInt64LE();
  if (bytes.length < BYTES) return { counter, clock: undefined, usage: undefined };
  const [timeMs = 0, wallMs = 0, openMs = 0, keys = 0, blobs = 0] = [1, 2, 3, 4, 5].map((i) =>
    bytes.readDoubleLE(8 * i),
  );
  return { counter, clock: { timeMs, wallMs, openMs }, usage: { keys, blobs } };
}
