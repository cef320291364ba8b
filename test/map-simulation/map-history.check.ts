import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { findMapViolations, type MapCall, type MapOperation, type MapOutcome } from "./map-history.js";

/** Operations of clients that call one after the other, except those with times of their own. */
function historyOf(
  ...calls: (readonly [call: MapCall, output: MapOutcome | undefined, times?: [number, number]])[]
): MapOperation[] {
  return calls.map(([input, output, times], i) => ({
    client: i,
    input,
    output,
    calledAt: times?.[0] ?? 2 * i,
    returnedAt: times?.[1] ?? (output ? 2 * i + 1 : Number.POSITIVE_INFINITY),
  }));
}

const whyOf = (operations: readonly MapOperation[]): string[] =>
  findMapViolations(operations).map(({ why }) => why);

const put = (value: string, condition?: bigint | "absent"): MapCall => ({
  do: "put",
  key: "k",
  value,
  condition,
});
const get: MapCall = { do: "get", key: "k" };
const remove = (condition?: bigint): MapCall => ({ do: "remove", key: "k", condition });
const entry = (value: string, version: bigint): MapOutcome => ({ entry: { value, version } });
const nothing: MapOutcome = { entry: undefined };
const at = (version: bigint): MapOutcome => ({ version });
const conflict = (actual: bigint): MapOutcome => ({ conflict: true, actual });

describe("findMapViolations()", () => {
  test("accepts writes, conditions and removals that follow one another", () => {
    const operations = historyOf(
      [get, nothing],
      [put("a", "absent"), at(1n)],
      [put("b", "absent"), conflict(1n)],
      [put("c", 1n), at(2n)],
      [put("d", 1n), conflict(2n)],
      [remove(2n), entry("c", 2n)],
      [remove(2n), conflict(0n)],
      [remove(), nothing],
    );
    assert.deepEqual(whyOf(operations), []);
  });

  test("lets a write of unknown outcome happen at any later time, or never", () => {
    const unknown = [put("b"), undefined] as const;
    assert.deepEqual(whyOf(historyOf([put("a"), at(1n)], unknown, [get, entry("a", 1n)])), []);
    const late = historyOf([put("a"), at(1n)], unknown, [get, entry("a", 1n)], [get, entry("b", 2n)]);
    assert.deepEqual(whyOf(late), []);
    const twice = historyOf([put("a"), at(1n)], unknown, [get, entry("b", 2n)], [get, entry("a", 1n)]);
    assert.match(whyOf(twice).join(), /not linearizable/);
  });

  test("takes a conflict as a sight of a write of unknown outcome", () => {
    const operations = historyOf([put("a"), undefined], [put("b", "absent"), conflict(1n)]);
    assert.deepEqual(whyOf(operations), []);
    assert.match(whyOf([...operations, ...historyOf([get, nothing, [90, 91]])]).join(), /not linearizable/);
  });

  for (const [what, operations] of [
    ["a lost write", historyOf([put("a"), at(1n)], [get, nothing])],
    ["an old value", historyOf([put("a"), at(1n)], [put("b"), at(2n)], [get, entry("a", 1n)])],
    [
      "a removed value that is back",
      historyOf([put("a"), at(1n)], [remove(), entry("a", 1n)], [get, entry("a", 1n)]),
    ],
    ["two winners", historyOf([put("a", "absent"), at(1n)], [put("b", "absent"), at(2n)])],
    ["a conflict without a reason", historyOf([put("a"), at(1n)], [put("b", 1n), conflict(1n)])],
    ["a value that nobody wrote", historyOf([get, entry("x", 1n)])],
    [
      "a write over an old version",
      historyOf([put("a"), at(1n)], [put("b"), at(2n)], [put("c", 1n), at(3n)]),
    ],
  ] as const) {
    test(`reports ${what}`, () => {
      assert.match(whyOf(operations).join(), /not linearizable/);
    });
  }

  test("reports versions that go back, are given twice, or change", () => {
    assert.match(whyOf(historyOf([put("a"), at(2n)], [put("b"), at(1n)])).join(), /came after 2/);
    const other: MapCall = { do: "put", key: "other", value: "b" };
    assert.match(whyOf(historyOf([put("a"), at(2n)], [other, at(1n)])).join(), /came after 2/);
    assert.match(whyOf(historyOf([put("a"), at(1n), [0, 3]], [other, at(1n), [1, 2]])).join(), /two writes/);
    assert.match(whyOf(historyOf([put("a"), at(1n)], [get, entry("a", 2n)])).join(), /has two versions/);
  });
});
