import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DamageError } from "./errors.js";
import { findNextFrame, frameHeaderAt, isIntact, SEGMENT_HEADER_BYTES, saltOf } from "./log-frame.js";
import { SegmentIndex, segmentName } from "./segment.js";

/** The content of a log's last segment. */
export type Tail = {
  salt: number;
  /** The end of its intact frames. The bytes after it were never acknowledged. */
  end: number;
  /** The offset of the next record. */
  next: number;
  lastMs: number | undefined;
  firstMs: number | undefined;
  index: SegmentIndex;
  /** The bytes after `end`. */
  tornBytes: number;
};

/**
 * Reads the last segment of a log. Returns undefined if its header is incomplete: then no record was ever written to
 * it. Throws a DamageError if a broken frame had been synced.
 */
export async function readTail(folder: string, base: number): Promise<Tail | undefined> {
  const path = join(folder, segmentName(base));
  const file = await readFile(path);
  const salt = saltOf(file.subarray(0, SEGMENT_HEADER_BYTES));
  if (salt === undefined) {
    if (file.length <= SEGMENT_HEADER_BYTES) return undefined;
    throw new DamageError(path, "its segment header is invalid");
  }
  const index = new SegmentIndex();
  const tail: Tail = {
    salt,
    end: SEGMENT_HEADER_BYTES,
    next: base,
    lastMs: undefined,
    firstMs: undefined,
    index,
    tornBytes: 0,
  };
  while (tail.end < file.length) {
    const head = frameHeaderAt(file, tail.end, 0);
    if (!head || head.end > file.length || !isIntact(file.subarray(tail.end, head.end), salt)) {
      const behind = findNextFrame(file, tail.end, salt);
      // A group commit is synced before the next one is written, so a later group proves that this frame was synced.
      if (behind && behind.group > tail.end)
        throw new DamageError(path, `the frame at byte ${tail.end} is broken`);
      tail.tornBytes = file.length - tail.end;
      break;
    }
    if (head.first !== tail.next) {
      throw new DamageError(path, `it has offset ${head.first} instead of ${tail.next}`);
    }
    index.add(head);
    tail.end = head.end;
    tail.next += head.count;
    tail.lastMs = head.timestampMs;
    tail.firstMs ??= head.timestampMs;
  }
  return tail;
}
