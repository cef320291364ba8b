import { maskedCrc32c } from "./crc32c.js";

/** LevelDB's format of journals and manifests: blocks of fragments. A record has one fragment or several. */
const BLOCK_BYTES = 32 * 1024;

/** A fragment's header: checksum, length, type. */
const HEADER_BYTES = 7;
const FULL = 1;
const FIRST = 2;
const LAST = 4;

/** The content of a journal or a manifest. */
export type StoreLog = {
  /** The intact records before any damage. */
  records: Buffer[];
  /** The positions at which the last of them begins and ends. */
  lastStart: number;
  end: number;
  /** Whether another record begins after a broken one, which then had been synced. */
  isDamaged: boolean;
};

type Fragment = { type: number; payload: Buffer; end: number };

export function readStoreLog(file: Buffer): StoreLog {
  const records: Buffer[] = [];
  let parts: Buffer[] = [];
  let [lastStart, start, end, at] = [0, 0, 0, 0];
  for (;;) {
    at = skipTrailer(at);
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
  return { records, lastStart, end, isDamaged: hasRecordAfter(file, at) };
}

/** The end of a block stays empty if it has no room for a header. */
function skipTrailer(at: number): number {
  const remaining = BLOCK_BYTES - (at % BLOCK_BYTES);
  return remaining < HEADER_BYTES ? at + remaining : at;
}

/** The fragment that begins at `at`; undefined if there is no intact one. */
function fragmentAt(file: Buffer, at: number): Fragment | undefined {
  if (at + HEADER_BYTES > file.length) return undefined;
  const type = file[at + 6] as number;
  const end = at + HEADER_BYTES + file.readUInt16LE(at + 4);
  const blockEnd = at - (at % BLOCK_BYTES) + BLOCK_BYTES;
  if (type < FULL || type > LAST || end > file.length || end > blockEnd) return undefined;
  if (maskedCrc32c(file, at + 6, end) !== file.readUInt32LE(at)) return undefined;
  return { type, payload: file.subarray(at + HEADER_BYTES, end), end };
}

/** Whether a record begins after `from`: anywhere in the same block, or at a fragment of a later block. */
function hasRecordAfter(file: Buffer, from: number): boolean {
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
