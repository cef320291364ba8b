import type { ClockState } from "../shared/clock.js";

/** The key of the tree's metadata. */
export const METADATA_KEY = "c";

/** The bytes that count for the engine's bounds. */
export type StoreUsage = { keys: number; blobs: number };

/** The tree's metadata. Every batch writes it again, so it always matches the batches before it. */
export type Metadata = {
  /** The highest version that was assigned. */
  counter: bigint;
  clock: ClockState | undefined;
  /** Undefined if the folder was last written by a version that did not count. */
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

/** Decodes the metadata of a tree; `bytes` is undefined for a new tree. */
export function decodeMetadata(bytes: Buffer | undefined): Metadata {
  if (!bytes) return { counter: 0n, clock: undefined, usage: { keys: 0, blobs: 0 } };
  const counter = bytes.readBigUInt64LE();
  if (bytes.length < BYTES) return { counter, clock: undefined, usage: undefined };
  const [timeMs = 0, wallMs = 0, openMs = 0, keys = 0, blobs = 0] = [1, 2, 3, 4, 5].map((i) =>
    bytes.readDoubleLE(8 * i),
  );
  return { counter, clock: { timeMs, wallMs, openMs }, usage: { keys, blobs } };
}
