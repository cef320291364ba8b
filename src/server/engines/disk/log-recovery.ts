import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DamageError } from "./errors.js";
import { findNextFrame, frameHeaderAt, isIntact, SEGMENT_HEADER_BYTES, saltOf } from "./log-frame.js";
import { SegmentIndex, segmentName } from "./segment.js";

/** What a log's last segment holds. */
export type Tail = {
  salt: number;
  /** Where its whole frames end. What is behind that was never acknowledged. */
  end: number;
  /** The offset that the next record gets. */
  next: number;
  lastMs: number | undefined;
  firstMs: number | undefined;
  index: SegmentIndex;
  /** The bytes behind that. */
  tornBytes: number;
};

/**
 * Reads the segment that was written to last. Undefined where not even its header is whole, so that nothing was ever
 * written to it. Fails as damaged where something broken was synced once.
 */
export async function readTail(folder: string, base: number): Promise<Tail | undefined> {
  const path = join(folder, segmentName(base));
  const file = await readFile(path);
  const salt = saltOf(file.subarray(0, SEGMENT_HEADER_BYTES));
  if (salt === undefined) {
    if (file.length <= SEGMENT_HEADER_BYTES) return undefined;
    throw new DamageError(path, "it does not begin as a segment does");
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
      // One group at a time is written: a later one proves that this was durable.
      if (behind && behind.group > tail.end)
        throw new DamageError(path, `the frame at byte ${tail.end} is broken`);
      tail.tornBytes = file.length - tail.end;
      break;
    }
    if (head.first !== tail.next) {
      throw new DamageError(path, `offset ${head.first} stands where offset ${tail.next} has to be`);
    }
    index.add(head);
    tail.end = head.end;
    tail.next += head.count;
    tail.lastMs = head.timestampMs;
    tail.firstMs ??= head.timestampMs;
  }
  return tail;
}
