import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DamageError } from "./faults.js";
import type { Files, OpenFile } from "./files.js";
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  frameBytes,
  hasFrameBehind,
  type Op,
} from "./journal-frame.js";

/** Magic and salt. */
const FILE_HEADER_BYTES = 16;
const MAGIC = Buffer.from("FLJOURN1");

/** The largest frame that is put together in memory which is kept for the next one. */
const KEPT_BYTES = 5 * 1024 ** 2;

/** The name of the journal's file of this number. */
export const journalName = (number: number): string => `journal-${String(number).padStart(10, "0")}`;

const numberOf = (name: string): number | undefined => {
  const digits = /^journal-(\d{10})$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
};

/** The numbers of the journal's files in the folder, in order. */
export const journalsIn = (names: readonly string[]): number[] =>
  names
    .map(numberOf)
    .filter((number) => number !== undefined)
    .sort((a, b) => a - b);

/**
 * Where everything that the tree is told stands first: frames in numbered files, of which the oldest go once a table
 * has what they say. Whoever writes waits for the frame before.
 */
export class Journal {
  readonly #files: Files;
  readonly #folder: string;
  #file: OpenFile;
  #salt: number;
  #end: number;
  #sequence: number;
  #failed: unknown;
  /** What frames are put together in, one after the other. */
  #room: Buffer = Buffer.alloc(0);
  /** The number of the file that is written to. */
  number: number;

  private constructor(
    files: Files,
    folder: string,
    number: number,
    file: OpenFile,
    salt: number,
    next: number,
  ) {
    this.#files = files;
    this.#folder = folder;
    this.number = number;
    this.#file = file;
    this.#salt = salt;
    this.#end = FILE_HEADER_BYTES;
    this.#sequence = next;
  }

  /** Begins the file `number`; its first frame has the number `sequence`. */
  static async begin(files: Files, folder: string, number: number, sequence: number): Promise<Journal> {
    const { file, salt } = await create(files, folder, number);
    return new Journal(files, folder, number, file, salt, sequence);
  }

  /** The number of the next frame. */
  get sequence(): number {
    return this.#sequence;
  }

  /** The bytes of the file that are durable. */
  get end(): number {
    return this.#end;
  }

  /** Resolves when `ops` are durable. Where that fails none of them will be there, as far as anyone was told. */
  async write(counter: bigint, ops: Op[]): Promise<void> {
    if (this.#failed) throw this.#failed;
    const bytes = frameBytes(ops);
    if (this.#room.length < bytes && bytes <= KEPT_BYTES) this.#room = Buffer.allocUnsafeSlow(KEPT_BYTES);
    const room = bytes <= KEPT_BYTES ? this.#room.subarray(0, bytes) : Buffer.allocUnsafeSlow(bytes);
    const frame = encodeFrame({ sequence: this.#sequence, counter, ops }, this.#salt, room);
    try {
      await this.#file.write(frame, this.#end);
    } catch (error) {
      await this.#takeBack(error);
      throw error;
    }
    try {
      await this.#file.sync();
    } catch (error) {
      // What the system has done with the pages is unknown: only opening the folder anew tells what is there.
      this.#failed = error;
      throw error;
    }
    this.#end += frame.length;
    this.#sequence++;
  }

  /** Goes on in a new file. Resolves with the number of the one before. */
  async rotate(): Promise<number> {
    const before = this.number;
    const { file, salt } = await create(this.#files, this.#folder, before + 1);
    await this.#file.close();
    this.#file = file;
    this.#salt = salt;
    this.#end = FILE_HEADER_BYTES;
    this.number = before + 1;
    return before;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #takeBack(cause: unknown): Promise<void> {
    try {
      await this.#file.truncate(this.#end);
    } catch {
      this.#failed = cause;
    }
  }
}

async function create(
  files: Files,
  folder: string,
  number: number,
): Promise<{ file: OpenFile; salt: number }> {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  MAGIC.copy(header);
  const salt = randomBytes(4).readUInt32LE();
  header.writeUInt32LE(salt, 8);
  const file = await files.open(join(folder, journalName(number)), "w+");
  try {
    await file.write(header, 0);
    await file.sync();
    await files.syncFolder(folder);
  } catch (error) {
    await file.close();
    throw error;
  }
  return { file, salt };
}

/** What replay() found in a file. */
export type Replayed = { frames: number; next: number; torn: boolean };

/**
 * Hands every frame of the file to `apply`. `expected` is the number of its first frame. A broken end that no frame
 * follows was never acknowledged, and is passed over as `torn`; anything else that is broken is damage.
 */
export async function replay(
  path: string,
  expected: number,
  apply: (frame: Frame) => void,
): Promise<Replayed> {
  const file = await readFile(path);
  if (file.length < FILE_HEADER_BYTES || !file.subarray(0, MAGIC.length).equals(MAGIC)) {
    // Its header is synced before the first frame is written.
    if (file.length <= FILE_HEADER_BYTES) return { frames: 0, next: expected, torn: true };
    throw new DamageError(path, "it does not begin as a journal does");
  }
  const salt = file.readUInt32LE(8);
  let next = expected;
  for (let at = FILE_HEADER_BYTES; at < file.length; next++) {
    const read = decodeFrame(file, at, salt);
    if (!read) {
      if (hasFrameBehind(file, at, salt)) throw new DamageError(path, `the frame at byte ${at} is broken`);
      return { frames: next - expected, next, torn: true };
    }
    const { sequence } = read.frame;
    if (sequence !== next) {
      throw new DamageError(path, `frame ${sequence} stands where frame ${next} has to be`);
    }
    apply(read.frame);
    at = read.end;
  }
  return { frames: next - expected, next, torn: false };
}
