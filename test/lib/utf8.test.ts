import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, test } from "vitest";
import { json, text } from "../../src/client/codec.js";
import { compareUtf8 } from "../../src/lib/compare-utf8.js";
import { fromUtf8, utf8, utf8Length } from "../../src/lib/utf8.js";

const wellFormed = fc.string({
  unit: fc.oneof(
    fc.constantFrom("a", "\ud7ff", "\ue000", "\uffff", "😀"),
    fc
      .nat(0x10ffff)
      .filter((point) => point < 0xd800 || point > 0xdfff)
      .map((point) => String.fromCodePoint(point)),
  ),
});
const anyUnits = fc
  .array(fc.oneof(fc.nat(0xffff), fc.integer({ min: 0xd7fe, max: 0xe001 })))
  .map((units) => String.fromCharCode(...units));

describe("utf8", () => {
  test("compareUtf8() orders as the bytes do", () => {
    fc.assert(
      fc.property(wellFormed, wellFormed, wellFormed, (start, a, b) => {
        const [x, y] = [start + a, start + b];
        assert.equal(Math.sign(compareUtf8(x, y)), Buffer.compare(Buffer.from(x), Buffer.from(y)));
      }),
    );
  });

  test("compareUtf8() is a total order of all strings, and no two that differ are equal", () => {
    fc.assert(
      fc.property(anyUnits, anyUnits, anyUnits, (a, b, c) => {
        assert.equal(compareUtf8(a, b) === 0, a === b);
        assert.equal(Math.sign(compareUtf8(a, b)), -Math.sign(compareUtf8(b, a)) + 0);
        if (compareUtf8(a, b) <= 0 && compareUtf8(b, c) <= 0) assert.ok(compareUtf8(a, c) <= 0);
      }),
    );
  });

  test("utf8Length() counts the bytes, also of lone surrogates", () => {
    fc.assert(fc.property(anyUnits, (units) => assert.equal(utf8Length(units), Buffer.byteLength(units))));
    assert.equal(utf8Length("\ud83d"), 3);
    assert.equal(utf8Length("\ude00\ud83d"), 6);
    assert.equal(utf8Length("😀"), 4);
  });

  test("fromUtf8() reverts utf8(), and keeps a byte order mark", () => {
    fc.assert(fc.property(wellFormed, (one) => assert.equal(fromUtf8(utf8(one)), one)));
    assert.equal(fromUtf8(utf8("\ufefftext")), "\ufefftext");
    assert.equal(text().decode(text().encode("\ufefftext")), "\ufefftext");
    assert.deepEqual(json().decode(utf8('\ufeff{"a":1}')), { a: 1 });
  });
});
