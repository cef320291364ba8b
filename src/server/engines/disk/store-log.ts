import { maskedCrc32c } from "./crc32c.js";

/** LevelDB's journal and manifest alike: blocks, in which a record is one fragment, or a first, some middle and a last one. */
const BLOCK_BYTES = 32 * 1024;

/** Checksum, length, and which fragment of its record it is. */
const HEADER_BYTES = 7;
const FULL = 1;
const FIRST = 2;
const LAST = 4;

/** What such a file holds. */
export type StoreLog = {
  /** The whole records in front of anything broken. */
  records: Buffer[];
  /** Where the last of them begins, and where it ends. */
  lastStart: number;
  end: number;
  /** Whether another record begins behind what is broken: then it was synced once. */
  isDamaged: boolean;
};

type Fragment = { type: number; payload: Buffer; end: number };

export function readStoreLog(file: Buffer): StoreLog {
  const records: Buffer[] = [];
  let parts: Buffer[] = [];
  let [lastStart, start, end, at] = [0, 0, 0, 0];
  for (;;) {
    at = behindTrailer(at);
    const fragment = fragmentAt(file, at);
    const isStart = fragment?.type === FULL || fragment?.type === FIRST;
    if (!fragment || isStart !== (parts.length === 0)) break;
    if (parts.length === 0) start = at;
    parts.push(fragment.payload);
    at = fragment.end;
    if (fragment.type !== FULL && fragment.type !== LAST) continue;
    records.push(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts));
    parts = [];
    lastStart = start;
    end = at;
  }
  return { records, lastStart, end, isDamaged: beginsBehind(file, at) };
}

/** A block's end that has no room for a header is left empty. */
function behindTrailer(at: number): number {
  const left = BLOCK_BYTES - (at % BLOCK_BYTES);
  return left < HEADER_BYTES ? at + left : at;
}

/** The fragment that begins at `at`; undefined where there is no whole one. */
function fragmentAt(file: Buffer, at: number): Fragment | undefined {
  if (at + HEADER_BYTES > file.length) return undefined;
  const type = file[at + 6] as number;
  const end = at + HEADER_BYTES + file.readUInt16LE(at + 4);
  const blockEnd = at - (at % BLOCK_BYTES) + BLOCK_BYTES;
  if (type < FULL || type > LAST || end > file.length || end > blockEnd) return undefined;
  if (maskedCrc32c(file, at + 6, end) !== file.readUInt32LE(at)) return undefined;
  return { type, payload: file.subarray(at + HEADER_BYTES, end), end };
}

/** Whether a record begins behind `from`: anywhere in the same block, or where the fragments of a later one lead. */
function beginsBehind(file: Buffer, from: number): boolean {
  const blockEnd = Math.min(file.length, from - (from % BLOCK_BYTES) + BLOCK_BYTES);
  for (let at = from; at < blockEnd; at++) if (isStart(fragmentAt(file, at))) return true;
  for (let block = blockEnd; block < file.length; block += BLOCK_BYTES) {
    for (let at = block; ; ) {
      const fragment = fragmentAt(file, at);
      if (isStart(fragment)) return true;
      if (!fragment || fragment.end % BLOCK_BYTES === 0) break;
      at = fragment.end;
    }
  }
  return false;
}

const isStart = (fragment: Fragment | undefined): boolean =>
  fragment?.type === FULL || fragment?.type === FIRST;
