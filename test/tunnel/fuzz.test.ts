import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import { randomFrom } from "../../src/lib/seeded-random.js";
import { ProtocolError } from "../../src/tunnel/wire/protocol-error.js";
import { bytesOf, framesOf, unhex } from "./frames.js";

/** FUZZ_INPUTS=10000000 FUZZ_SEED=1 sets the number of inputs and the seed. Default: a few seconds, a random seed. */
const { FUZZ_INPUTS, FUZZ_SEED } = process.env;
const BUDGET_MS = 8000;

const corpus = readFileSync(join(import.meta.dirname, "vectors.tsv"), "utf8")
  .trim()
  .split("\n")
  .map((line) => unhex(line.split("\t")[1] as string));

/** Bytes at the edges of varints, kinds and flags. */
const ODD = [0x00, 0x01, 0x7f, 0x80, 0x81, 0xff, 0xfe, 0xc0, 0x0a, 0x0d, 0x20, 0x10, 0x13, 0x23];

type Chance = (below: number) => number;

const one = <T>(items: readonly T[], chance: Chance): T => items[chance(items.length)] as T;

function randomBytes(chance: Chance): Uint8Array {
  const bytes = new Uint8Array(chance(40));
  for (let i = 0; i < bytes.length; i++) bytes[i] = chance(256);
  // Half of them begin as a frame of some kind, so that the decoder reads their fields.
  if (bytes.length > 2 && chance(2) === 0) {
    bytes[0] = 1 + chance(11);
    bytes[1] = bytes.length - 2;
  }
  return bytes;
}

/** One to four valid frames, with up to six mutations. */
function mutated(chance: Chance): Uint8Array {
  let bytes: number[] = [];
  for (let n = 1 + chance(4); n > 0; n--) bytes.push(...one(corpus, chance));
  for (let n = chance(7); n > 0; n--) {
    const at = chance(bytes.length + 1);
    const what = chance(7);
    if (what === 0) bytes[at] = chance(256);
    else if (what === 1) bytes[at] = ((bytes[at] ?? 0) ^ (1 << chance(8))) & 0xff;
    else if (what === 2) bytes[at] = one(ODD, chance);
    else if (what === 3) bytes.splice(at, 1 + chance(4));
    else if (what === 4) bytes.splice(at, 0, one(ODD, chance));
    else if (what === 5) bytes = bytes.slice(0, at);
    else bytes.splice(at, 0, ...bytes.slice(chance(at + 1), at));
  }
  return Uint8Array.from(bytes);
}

/** Whether the input is accepted as frames. Throws if the decoder neither reads it nor throws a ProtocolError. */
function tryOne(input: Uint8Array): boolean {
  try {
    const frames = framesOf(input);
    const written = bytesOf(...frames);
    // The frames that were read are read again from what is written of them.
    assert(Buffer.from(bytesOf(...framesOf(written))).equals(written), "another frame");
    return true;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return false;
  }
}

test("for any input the decoder reads frames or throws a ProtocolError", { timeout: 3_600_000 }, () => {
  const seed = Number(FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 32));
  const random = randomFrom(seed);
  const chance: Chance = (below) => Math.floor(random() * below);
  const most = Number(FUZZ_INPUTS ?? Number.POSITIVE_INFINITY);
  const endMs = FUZZ_INPUTS ? Number.POSITIVE_INFINITY : performance.now() + BUDGET_MS;
  const startMs = performance.now();
  // Nearly all inputs throw, and stack traces are most of the cost.
  Error.stackTraceLimit = 0;
  let tried = 0;
  let valid = 0;
  for (; tried < most && (tried % 256 !== 0 || performance.now() < endMs); tried++) {
    const input = chance(4) === 0 ? randomBytes(chance) : mutated(chance);
    try {
      if (tryOne(input)) valid++;
    } catch (cause) {
      const bytes = Buffer.from(input).toString("hex");
      throw new Error(`seed ${seed}, input ${tried}: ${bytes}`, { cause });
    }
  }
  const perSecond = Math.round(tried / ((performance.now() - startMs) / 1000));
  console.log(`${tried} inputs, ${valid} of them valid, ${perSecond} a second, seed ${seed}`);
  // If all inputs were accepted, or all refused at the first byte, the fuzzer would prove nothing.
  assert(valid > tried / 100 && valid < tried / 2);
});
