import assert from "node:assert/strict";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, test } from "vitest";
import { DigestSchema } from "../../gen/atomix/map/map_pb.js";
import { wallMsOf } from "../../src/gossip/clock.js";
import {
  BUCKETS,
  decodeReserved,
  encodeReserved,
  GROUP_BUCKETS,
  GROUPS,
  type ReservedRecord,
} from "../../src/gossip/reserved-key.js";
import { timestampFault } from "../../src/gossip/timestamp-fault.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const digest = (text: string, tombstone = false) =>
  create(DigestSchema, {
    timestamp: new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex")),
    tombstone,
  });

const CLOCK = "0000000000000000";

const numbersBelow = (end: number) =>
  fc.uniqueArray(fc.nat(end - 1)).map((numbers) => numbers.sort((a, b) => a - b));

const exchange = { exchange: fc.nat(127), isStarter: fc.boolean() };

const words = (hashes: number) =>
  fc
    .array(fc.integer(), { minLength: 2 * hashes, maxLength: 2 * hashes })
    .map((numbers) => Int32Array.from(numbers));

const hashes = fc.oneof(
  fc.record({ ...exchange, level: fc.constant("root" as const), groups: fc.constant([]), words: words(1) }),
  fc.record({
    ...exchange,
    level: fc.constant("groups" as const),
    groups: fc.constant([]),
    words: words(GROUPS),
  }),
  numbersBelow(GROUPS)
    .filter((groups) => groups.length < 4)
    .chain((groups) =>
      fc.record({
        ...exchange,
        level: fc.constant("buckets" as const),
        groups: fc.constant(groups),
        words: words(GROUP_BUCKETS * groups.length),
      }),
    ),
);

const round = fc.record({
  ...exchange,
  isFirst: fc.boolean(),
  isLast: fc.boolean(),
  isAnswer: fc.boolean(),
  buckets: fc.option(numbersBelow(BUCKETS), { nil: undefined }),
});

const record = fc.record(
  {
    hello: fc.record({ afresh: fc.boolean(), syncedUpTo: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
    hashes,
    equal: fc.record(exchange),
    round,
  },
  { requiredKeys: [] },
);

/** A later part of a round does not repeat the buckets. */
function asSent({ round, ...rest }: ReservedRecord): ReservedRecord {
  if (!round) return rest;
  const { buckets, ...flags } = round;
  return { ...rest, round: { ...flags, ...(flags.isFirst && buckets && { buckets }) } };
}

describe("the record of the reserved key", () => {
  test("is read as it was written, over the wire too", () => {
    fc.assert(
      fc.property(record, (generated) => {
        const each = structuredClone(generated) as ReservedRecord;
        const sent = encodeReserved(each);
        const received = fromBinary(DigestSchema, toBinary(DigestSchema, sent));
        assert.deepEqual(decodeReserved(received), asSent(each));
      }),
    );
  });

  test("has a fixed layout", () => {
    const layout = (record: ReservedRecord) => hex(encodeReserved(record).timestamp);
    assert.equal(layout({}), `${CLOCK}01`);
    assert.equal(layout({ hello: {} }), `${CLOCK}01 01 01 00`.replaceAll(" ", ""));
    assert.equal(
      layout({ hello: { afresh: true, syncedUpTo: 0x0102030405060708n } }),
      `${CLOCK}01 01 09 01 0102030405060708`.replaceAll(" ", ""),
    );
    const id = { exchange: 3, isStarter: true };
    assert.equal(layout({ equal: id }), `${CLOCK}01 03 01 83`.replaceAll(" ", ""));
    const root = { ...id, level: "root" as const, groups: [], words: Int32Array.of(-1, 258) };
    assert.equal(layout({ hashes: root }), `${CLOCK}01 02 0a 83 00 ffffffff 00000102`.replaceAll(" ", ""));
    const part = { exchange: 3, isStarter: false, isFirst: true, isLast: true, isAnswer: true };
    assert.equal(
      layout({ round: { ...part, buckets: [0, 1, 200] } }),
      `${CLOCK}01 04 07 03 07 03 00 00 c601`.replaceAll(" ", ""),
    );
    assert.equal(layout({ round: part }), `${CLOCK}01 04 02 03 0f`.replaceAll(" ", ""));
  });

  test("is a valid timestamp for peers that do not know it: the lowest clock", () => {
    const words = new Int32Array(2).fill(-1);
    const hashes = { exchange: 1, isStarter: true, level: "root" as const, groups: [], words };
    const { timestamp } = encodeReserved({ hello: { afresh: true }, hashes });
    assert.equal(timestampFault(timestamp), undefined, "also with the bytes that begin a lifetime");
    assert.equal(wallMsOf(timestamp), 0);
  });

  test("of another version, or of no version, is unknown", () => {
    assert.deepEqual(decodeReserved(digest(`${CLOCK}01`)), {});
    for (const other of ["", CLOCK, `${CLOCK}02`, "000000000000000101", "00000000"]) {
      assert.equal(decodeReserved(digest(other)), undefined, other);
    }
    assert.equal(decodeReserved(digest(`${CLOCK}01`, true)), undefined, "a tombstone");
  });

  test("may have unknown sections, and known ones with more bytes", () => {
    const hello = { hello: { afresh: true, syncedUpTo: 5n } };
    assert.deepEqual(
      decodeReserved(digest(`${CLOCK}01 63 02 ffff 01 0b 01 0000000000000005 eeee 7f 00`)),
      hello,
    );
  });

  test("that is malformed is unknown as a whole", () => {
    const malformed = {
      "a section that is cut off": "01 09 01 00",
      "a section without a length": "01",
      "an empty hello": "01 00",
      "a clock of 3 bytes": "01 04 00 000000",
      "hashes of an unknown level": "02 0a 83 03 ffffffff 00000102",
      "half a hash": "02 06 83 00 ffffffff",
      "group 64": "02 04 83 02 01 40",
      "more groups than there are": "02 03 83 02 41",
      "bucket 4096": "04 05 83 01 01 8020",
      "a number that does not end": "04 07 83 01 ffffffffff",
    };
    for (const [what, sections] of Object.entries(malformed)) {
      assert.equal(decodeReserved(digest(`${CLOCK}01 ${sections}`)), undefined, what);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        decodeReserved(digest(`${CLOCK}01${hex(bytes)}`));
      }),
    );
  });
});
