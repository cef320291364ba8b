import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { History, type RecordedOperation } from "../../src/conformance/history/history.js";
import { checkHolds, checkIds, checkLog } from "../../src/conformance/history/orders.js";
import { checkRegister, type RegisterStep, type StepResult } from "../../src/conformance/history/register.js";
import { randomFrom } from "../../src/lib/seeded-random.js";

const NEVER = Number.POSITIVE_INFINITY;

/** An operation from `calledAt` to `returnedAt`. */
const op = <I, O>(calledAt: number, returnedAt: number, input: I, output?: O): RecordedOperation<I, O> => ({
  client: calledAt,
  input,
  calledAt,
  returnedAt,
  output,
});

const read = (from: number, to: number, value?: string) =>
  op<RegisterStep, StepResult>(from, to, { do: "read" }, { value });
const write = (from: number, to: number, value?: string) =>
  op<RegisterStep, StepResult>(from, to, { do: "write", value }, {});
const exchange = (from: number, to: number, expected: string, value: string, isDone: boolean) =>
  op<RegisterStep, StepResult>(from, to, { do: "exchange", expected, value }, { isDone });

describe("a register", () => {
  const good: Record<string, RecordedOperation<RegisterStep, StepResult>[]> = {
    "what is read after a write": [write(0, 1, "x"), read(2, 3, "x")],
    "what is read during a write, before it": [write(0, 3, "x"), read(1, 2)],
    "what is read during a write, after it": [write(0, 3, "x"), read(1, 2, "x")],
    "two readers of which the later one sees what is newer": [write(0, 5, "x"), read(1, 2), read(3, 4, "x")],
    "a write that nobody knows of, and is there": [write(0, NEVER, "x"), read(1, 2), read(3, 4, "x")],
    "a write that nobody knows of, and is never there": [write(0, NEVER, "x"), read(1, 2), read(3, 4)],
    "an exchange that found what was expected": [
      write(0, 1, "x"),
      exchange(2, 3, "x", "y", true),
      read(4, 5, "y"),
    ],
    "an exchange that was overtaken": [
      write(0, 1, "x"),
      exchange(2, 5, "x", "y", true),
      exchange(3, 6, "x", "z", false),
      read(7, 8, "y"),
    ],
    "a deletion": [write(0, 1, "x"), write(2, 3), read(4, 5)],
  };
  for (const [name, operations] of Object.entries(good)) {
    test(`is explained: ${name}`, () => checkRegister("k", operations));
  }

  const bad: Record<string, RecordedOperation<RegisterStep, StepResult>[]> = {
    "a write that is lost": [write(0, 1, "x"), read(2, 3)],
    "a value that nobody wrote": [write(0, 1, "x"), read(2, 3, "y")],
    "an old value after a new one": [write(0, 1, "x"), write(2, 7, "y"), read(3, 4, "y"), read(5, 6, "x")],
    "two exchanges for the same value": [
      write(0, 1, "x"),
      exchange(2, 5, "x", "y", true),
      exchange(3, 6, "x", "z", true),
    ],
    "an exchange that is refused without a reason": [write(0, 1, "x"), exchange(2, 3, "x", "y", false)],
    "a write that comes back after another": [write(0, 1, "x"), write(2, 3, "y"), read(4, 5, "x")],
    "a write that nobody knows of, there and away again": [write(0, NEVER, "x"), read(1, 2, "x"), read(3, 4)],
  };
  for (const [name, operations] of Object.entries(bad)) {
    test(`is not: ${name}`, () => {
      assert.throws(() => checkRegister("k", operations), /of k are not linearizable/);
    });
  }

  test("what a real register did is explained, also where answers are lost; one changed answer is not", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const operations = simulated(seed);
      checkRegister("k", operations);
      const reads = operations.filter(({ input, output }) => input.do === "read" && output);
      const at = reads[Math.floor(reads.length / 2)] as RecordedOperation<RegisterStep, StepResult>;
      at.output = { value: "never written" };
      assert.throws(() => checkRegister("k", operations));
    }
  });
});

/** What concurrent clients would be told by a true register, with some answers lost. */
function simulated(seed: number): RecordedOperation<RegisterStep, StepResult>[] {
  const chance = randomFrom(seed);
  const operations: RecordedOperation<RegisterStep, StepResult>[] = [];
  const open: { operation: RecordedOperation<RegisterStep, StepResult>; output: StepResult }[] = [];
  let value: string | undefined;
  for (let time = 0; time < 200; time++) {
    const ends = open.length > 0 && (open.length >= 5 || chance() < 0.5);
    if (ends) {
      const [{ operation, output }] = open.splice(Math.floor(chance() * open.length), 1) as [
        (typeof open)[0],
      ];
      if (operation.input.do !== "read" && chance() < 0.1) continue;
      operation.returnedAt = time;
      operation.output = output;
      continue;
    }
    const input: RegisterStep = chance() < 0.5 ? { do: "read" } : { do: "write", value: String(time) };
    // It is done at once; the answer comes later.
    if (input.do === "write") value = input.value;
    const operation = op<RegisterStep, StepResult>(time, NEVER, input);
    operations.push(operation);
    open.push({ operation, output: input.do === "read" ? { value } : {} });
  }
  for (const { operation, output } of open) {
    if (operation.input.do !== "read") continue;
    operation.returnedAt = 1000;
    operation.output = output;
  }
  return operations;
}

describe("ids", () => {
  const ids = (from: number, to: number, first: number, count = 1) =>
    op(from, to, undefined, { first: BigInt(first), count }) as never;

  test("that are unique and in order pass", () => {
    checkIds([ids(0, 1, 1), ids(2, 5, 12, 10), ids(3, 4, 2, 10), ids(6, 7, 30)], true);
  });

  test("that are given twice do not, be it within a block", () => {
    assert.throws(() => checkIds([ids(0, 1, 1), ids(0, 1, 1)], false), /both given 1/);
    assert.throws(() => checkIds([ids(0, 1, 1, 10), ids(0, 1, 10)], false), /both given 10/);
  });

  test("that are smaller after greater ones do not, where they have to be in order", () => {
    checkIds([ids(0, 1, 5), ids(2, 3, 4)], false);
    assert.throws(
      () => checkIds([ids(0, 1, 5), ids(2, 3, 4)], true),
      /given the id 4 after client 0 had been given 5/,
    );
  });
});

describe("holds of a lock", () => {
  const hold = (from: number, to: number, fence: number) => ({
    client: from,
    from,
    to,
    fence: BigInt(fence),
  });

  test("one after the other with growing fences pass", () => {
    checkHolds([hold(4, 5, 7), hold(0, 1, 2), hold(2, 3, 3)]);
  });

  test("at the same time, or with a fence that does not grow, do not", () => {
    assert.throws(() => checkHolds([hold(0, 2, 1), hold(1, 3, 2)]), /at the same time/);
    assert.throws(() => checkHolds([hold(0, 1, 2), hold(2, 3, 2)]), /fence 2 was given after 2/);
  });
});

describe("a log", () => {
  const appended = (from: number, to: number, values: string[], first?: number) =>
    op(from, to, { values }, first === undefined ? undefined : { first: BigInt(first) });
  const log = (...values: string[]) => values.map((value, i) => ({ offset: BigInt(i + 1), value }));

  test("with all that was appended, and all or nothing of what nobody knows of, passes", () => {
    const known = appended(0, 1, ["a", "b"], 1);
    checkLog([known, appended(2, NEVER, ["c", "d"])], log("a", "b"));
    checkLog([known, appended(2, NEVER, ["c", "d"])], log("a", "b", "c", "d"));
  });

  test("that lost, repeated, split, invented or reordered records does not", () => {
    const two = [appended(0, 1, ["a", "b"], 1), appended(2, 3, ["c"], 3)];
    assert.throws(() => checkLog(two, log("a", "b")), /c was appended at 3, and is lost/);
    assert.throws(() => checkLog(two, log("a", "b", "c", "c")), /c stands at 3 and at 4/);
    assert.throws(() => checkLog(two, log("a", "c", "b")), /b stands at 3, and was appended at 2/);
    assert.throws(() => checkLog(two, log("a", "b", "c", "x")), /x was never appended/);
    assert.throws(
      () => checkLog([appended(0, NEVER, ["a", "b"])], log("b")),
      /b is in the log, and a, .* is not/,
    );
    assert.throws(
      () => checkLog([appended(0, NEVER, ["a", "b"])], log("a")),
      /b was appended at 2, and is lost/,
    );
    assert.throws(
      () =>
        checkLog(
          [],
          [
            { offset: 1n, value: "a" },
            { offset: 3n, value: "b" },
          ],
        ),
      /a gap or a repeat/,
    );
    const late = [appended(0, 1, ["a"], 2), appended(2, 3, ["b"], 1)];
    assert.throws(() => checkLog(late, log("b", "a")), /given the offset 1 after client 0 had been given 2/);
  });
});

describe("a history", () => {
  test("knows what was done, what perhaps was, and nothing of what was refused", async () => {
    const history = new History<string, number>();
    assert.equal(await history.call(1, "done", async () => 7), 7);
    const lost = new ConnectError("gone", Code.Unavailable);
    assert.equal(await history.call(1, "perhaps", () => Promise.reject(lost)), undefined);
    const refused = new ConnectError("no", Code.InvalidArgument);
    await assert.rejects(
      history.call(1, "refused", () => Promise.reject(refused)),
      refused,
    );
    assert.deepEqual(
      history.done.map(({ input }) => input),
      ["done"],
    );
    assert.equal(history.operations[1]?.returnedAt, NEVER);
  });
});
