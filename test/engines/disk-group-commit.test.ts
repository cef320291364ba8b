import assert from "node:assert/strict";
import { test } from "vitest";
import { GroupCommit } from "../../src/server/engines/disk/group-commit.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A group commit whose writes end on request, and the items of each. */
function groups() {
  const written: number[][] = [];
  const ends: ((error?: Error) => void)[] = [];
  let failures = 0;
  const all = new GroupCommit<number>(
    (items) => {
      written.push(items);
      return new Promise((resolve, reject) => ends.push((error) => (error ? reject(error) : resolve())));
    },
    () => failures++,
  );
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
  return {
    all,
    written,
    range,
    failures: () => failures,
    add: (from: number, to: number, bytes = 1) => range(from, to).map((item) => all.add(item, bytes)),
    end: async (error?: Error) => {
      ends.shift()?.(error);
      await turn();
      await turn();
    },
  };
}

test("a few writes of one turn are one group; writes during its commit are the next", async () => {
  const { all, add, end, written, range } = groups();
  const first = add(0, 15);
  await turn();
  assert.deepEqual(written, [range(0, 15)]);
  const second = add(15, 40);
  await turn();
  assert.equal(written.length, 1);
  await end();
  await Promise.all(first);
  assert.deepEqual(written.at(-1), range(15, 40));
  await end();
  await Promise.all([...second, all.settled()]);
  assert.equal(written.length, 2);
});

test("half of many items are a group: the other half is written while their callers prepare the next items", async () => {
  const { add, end, written, range } = groups();
  const all = add(0, 64);
  await turn();
  assert.deepEqual(written, [range(0, 32)]);
  // Each caller writes again when it is answered.
  const again = all.slice(0, 32).map((one, i) => one.then(() => add(100 + i, 101 + i)[0]));
  await end();
  assert.deepEqual(written.slice(1), [range(32, 64)]);
  await end();
  assert.deepEqual(written.slice(2), [range(100, 132)]);
  await end();
  await Promise.all([...all, ...again]);
});

test("a group has at most 4 MiB, and a larger item is a group by itself", async () => {
  const { add, end, written } = groups();
  const all = [...add(0, 3, 1.5 * 1024 ** 2), ...add(3, 4, 9 * 1024 ** 2), ...add(4, 5)];
  await turn();
  for (let i = 0; i < 4; i++) await end();
  await Promise.all(all);
  assert.deepEqual(written, [[0, 1], [2], [3], [4]]);
});

test("if a group fails, the items that wait behind it fail as well, and later ones are written", async () => {
  const { add, end, written, failures } = groups();
  const first = add(0, 2);
  await turn();
  const behind = add(2, 4);
  const failed = [...first, ...behind].map((one) => assert.rejects(one, /no room/));
  await end(new Error("no room"));
  await Promise.all(failed);
  assert.equal(failures(), 1);
  const next = add(4, 6);
  await turn();
  await end();
  await Promise.all(next);
  assert.deepEqual(written, [
    [0, 1],
    [4, 5],
  ]);
});
