import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { test } from "vitest";
import { ByteReader, ByteWriter, varintSize } from "../../src/tunnel/wire/bytes.js";
import { CLOSE_CODE, ProtocolError } from "../../src/tunnel/wire/protocol-error.js";
import { readFrames } from "../../src/tunnel/wire/read-frame.js";
import { anyFrame } from "./any-frame.js";
import { ANY, asJson, bytesOf, type Frame, framesOf, receiver, unhex } from "./frames.js";
import { memoryInUse } from "./memory-in-use.js";
import { parse } from "./wire.js";

const vectors = readFileSync(join(import.meta.dirname, "vectors.tsv"), "utf8")
  .trim()
  .split("\n")
  .map((line) => line.split("\t") as [name: string, bytes: string, frame: string]);

for (const [name, bytes, frame] of vectors) {
  test(`vector: ${name}`, () => {
    const read = framesOf(unhex(bytes));
    assert.deepEqual(read.map(asJson), [frame]);
    assert.equal(Buffer.from(bytesOf(...read)).toString("hex"), bytes);
  });
}

test("the vectors have every kind of frame, and the tests' own parser agrees", () => {
  const kinds = vectors.map(([, , frame]) => (JSON.parse(frame) as Frame).kind);
  assert.equal(new Set(kinds).size, 11);
  const all = parse(unhex(vectors.map(([, bytes]) => bytes).join("")));
  assert.deepEqual(
    all.map(({ kind }) => kind.toLowerCase()),
    kinds,
  );
});

test("any frames in one message are read as they were written", () => {
  fc.assert(
    fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 8 }), (frames) => {
      assert.deepEqual(framesOf(bytesOf(...frames)).map(asJson), frames.map(asJson));
    }),
    { numRuns: 2000 },
  );
});

test("the tests' own parser reads any frames with the same kinds and lengths", () => {
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 8 }), (frames) => {
      assert.deepEqual(
        parse(bytesOf(...frames)).map(({ kind }) => kind.toLowerCase()),
        frames.map(({ kind }) => kind),
      );
    }),
    { numRuns: 500 },
  );
});

test("a number has as many bytes as varintSize() returns, and is read as it was written", () => {
  const edges = [7, 14, 21, 28, 31, 32, 35, 42, 49].flatMap((bits) => [2 ** bits - 1, 2 ** bits]);
  for (const number of [0, ...edges, Number.MAX_SAFE_INTEGER]) {
    const to = new ByteWriter();
    to.varint(number);
    assert.equal(to.length, varintSize(number));
    assert.equal(new ByteReader(to.take()).varint(), number);
  }
});

test("a writer does not keep a large buffer", async () => {
  const large = new Uint8Array(1024 * 1024);
  const before = await memoryInUse();
  const writers = Array.from({ length: 50 }, () => new ByteWriter());
  for (const to of writers) {
    to.bytes(large);
    to.take();
    for (let i = 0; i < 20; i++) {
      to.byte(1);
      to.take();
    }
  }
  const kept = (await memoryInUse()) - before;
  assert.equal(writers[0]?.length, 0);
  assert(kept < 5 * 1024 * 1024, `${kept} bytes are kept`);
});

/** Malformed frames: a name, the bytes, the error message and the close code. */
const MALFORMED: [string, string, RegExp, number?][] = [
  ["a kind 0", "00 00", /kind 0/],
  ["an unknown kind", "0c 00", /kind 12/],
  ["the last kind", "0f 00", /kind 15/],
  ["a reserved flag", "43 02 01 00", /flags 0x40/],
  ["the other reserved flag", "83 02 01 00", /flags 0x80/],
  ["END on a kind without flags", "18 01 01", /flags 0x10/],
  ["MORE on a kind without flags", "25 02 01 00", /flags 0x20/],
  ["MORE and END at once", "33 01 01", /goes on behind the end/],
  ["a message that is truncated in its first byte", "03", /ends within a field/],
  ["a length beyond the message", "03 05 01 00", /cut short/],
  ["a frame beyond the limit", "03 81 80 10", /262145 bytes: at most 262144/, CLOSE_CODE.limit],
  ["a length that is not in the fewest bytes", "03 81 00 01", /longer than it need be/],
  ["a number above 2^53 - 1", "08 08 ff ff ff ff ff ff ff 1f", /above 2\^53/],
  ["a number of nine bytes", "08 09 ff ff ff ff ff ff ff ff 01", /above 2\^53/],
  ["a frame with bytes after the last field", "08 02 01 01", /behind its last field/],
  ["a stream 0", "03 01 00", /number 0/],
  ["a call of stream 0", "02 03 00 01 00", /number 0/],
  ["a malformed path", "02 06 01 00 02 61 62 00", /path/],
  ["a path with a space", "02 09 01 00 05 2f 61 2f 62 20 00", /path/],
  ["a path that is not UTF-8", "02 08 01 00 04 2f 61 2f ff 00", /UTF-8/],
  ["a call without a timeout", "02 02 01 01", /ends within a field/],
  ["a header without a value", "04 03 01 01 61", /ends within a field/],
  ["a header with a name in upper case", "04 05 01 01 41 01 62", /name that is none/],
  ["a header without a name", "04 04 01 00 01 62", /name that is none/],
  ["a header with a line end in its value", "04 05 01 01 61 01 0a", /line end/],
  ["a header with a space before its value", "04 06 01 01 61 02 20 62", /blanks/],
  ["a status with an unknown code", "05 02 01 11", /code 17/],
  ["a status with more details than bytes", "05 04 01 05 00 02", /ends within a field/],
  ["a status with 65 details", "05 04 01 05 00 41", /more than 64/, CLOSE_CODE.limit],
  ["a reset without a code", "06 01 01", /ends within a field/],
  ["credit without bytes", "07 01 01", /ends within a field/],
  ["a truncated setting", "01 02 01 05", /ends within a field/],
  ["a setting with bytes after its number", "01 04 01 02 05 05", /behind its number/],
  ["a setting that is not UTF-8", "01 03 05 01 ff", /UTF-8/],
  ["a reason that is not UTF-8", "0a 03 00 01 ff", /UTF-8/],
];

for (const [what, bytes, message, closeCode = CLOSE_CODE.protocolError] of MALFORMED) {
  test(`${what} is a protocol error`, () => {
    assert.throws(
      () => framesOf(unhex(bytes)),
      (error) =>
        error instanceof ProtocolError && message.test(error.message) && error.closeCode === closeCode,
    );
  });
}

test("a header list beyond the limit is a protocol error, in every kind of frame", () => {
  const header: [string, string][] = [["x", "v".repeat(100)]];
  const well = { code: 0, text: "", details: [] };
  const each: Frame[] = [
    { kind: "call", id: 1, method: 1, timeoutMs: 1, header },
    { kind: "headers", id: 1, header },
    { kind: "status", id: 1, status: { ...well, trailers: header } },
  ];
  for (const frame of each) {
    assert.equal(framesOf(bytesOf(frame), { ...ANY, headerBytes: 103 }).length, 1);
    assert.throws(() => framesOf(bytesOf(frame), { ...ANY, headerBytes: 102 }), {
      name: "ProtocolError",
      closeCode: CLOSE_CODE.limit,
    });
  }
});

test("header values may have every character that Headers accepts, and are read unchanged", () => {
  for (let code = 0; code < 256; code++) {
    const value = `a${String.fromCharCode(code)}b`;
    const frame: Frame = { kind: "headers", id: 1, header: [["x", value]] };
    const isValid = ![0, 10, 13].includes(code);
    if (isValid) {
      assert.equal(new Headers([["x", value]]).get("x"), value);
      assert.deepEqual(framesOf(bytesOf(frame)), [frame]);
    } else {
      assert.throws(() => new Headers([["x", value]]));
      assert.throws(() => framesOf(bytesOf(frame)), ProtocolError);
    }
  }
});

test("unknown settings are ignored", () => {
  assert.deepEqual(framesOf(unhex("01 0a 63 02 ff ff 03 01 07 7f 01 00")), [
    { kind: "settings", settings: { calls: 7 } },
  ]);
});

test("the frames before a malformed one are read", () => {
  const read: Frame[] = [];
  const message = unhex("08 01 01 00 00");
  assert.throws(
    () =>
      readFrames(
        message,
        receiver((frame) => read.push(frame)),
        ANY,
      ),
    ProtocolError,
  );
  assert.deepEqual(read, [{ kind: "ping", number: 1 }]);
});
