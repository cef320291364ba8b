import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { collect, reader } from "../../src/conformance/engine/reader.js";
import { Queue } from "../../src/lib/queue.js";
import { isCollected } from "../support/gc.js";

describe("queue", () => {
  test("yields items pushed before and during the iteration in order, and ends after the last", async () => {
    const queue = new Queue<number>();
    queue.push(1);
    queue.push(2);
    const read = collect(queue);
    await Promise.resolve();
    queue.push(3);
    queue.end();
    queue.push(4);
    assert.deepEqual(await read, [1, 2, 3]);
    assert.equal(queue.ended, true);
  });

  test("keeps 100,000 items in order, and size is the number that wait", async () => {
    const queue = new Queue<number>();
    for (let i = 0; i < 100_000; i++) queue.push(i);
    assert.equal(queue.size, 100_000);
    queue.end();
    const numbers = await collect(queue);
    assert.ok(numbers.every((number, i) => number === i));
    assert.deepEqual([numbers.length, queue.size], [100_000, 0]);
  });

  test("fail() throws once, after the remaining items", async () => {
    const queue = new Queue<number>();
    const broken = new Error("broken");
    queue.push(1);
    queue.fail(broken);
    queue.end();
    const read = reader(queue);
    assert.equal(await read.next(), 1);
    await assert.rejects(read.next(), broken);
    assert.deepEqual(await collect(queue), []);
  });

  test("fail() throws at a reader that waits", async () => {
    const queue = new Queue<number>();
    const read = assert.rejects(collect(queue), /broken/);
    queue.fail(new Error("broken"));
    await read;
  });

  test("leaving calls onLeave once and drops the rest", async () => {
    let left = 0;
    const queue = new Queue<number>(() => left++);
    queue.push(1);
    queue.push(2);
    for await (const number of queue) {
      assert.equal(number, 1);
      break;
    }
    queue.push(3);
    assert.deepEqual(await collect(queue), []);
    assert.deepEqual([left, queue.ended, queue.size], [1, true, 0]);
  });

  test("reading to the end calls onLeave as well", async () => {
    let left = 0;
    const queue = new Queue<number>(() => left++);
    queue.end();
    await collect(queue);
    assert.equal(left, 1);
  });

  test("a reader may leave before its first step, and while it waits", async () => {
    let left = 0;
    const unread = new Queue<number>(() => left++);
    await unread[Symbol.asyncIterator]().return?.();
    assert.deepEqual([left, unread.ended], [1, true]);
    const waits = new Queue<number>(() => left++);
    const iterator = waits[Symbol.asyncIterator]();
    const next = iterator.next();
    await iterator.return?.();
    assert.equal((await next).done, true);
    assert.equal(left, 2);
  });

  test("two readers share the items, lose none and end together", async () => {
    const queue = new Queue<number>();
    const reads = [collect(queue), collect(queue)];
    for (let i = 0; i < 10; i++) {
      queue.push(i);
      await Promise.resolve();
    }
    queue.end();
    const [a = [], b = []] = await Promise.all(reads);
    assert.deepEqual(
      [...a, ...b].sort((x, y) => x - y),
      Array.from({ length: 10 }, (_, i) => i),
    );
  });

  test("does not keep items that were read", async () => {
    const queue = new Queue<object>();
    const read = reader(queue);
    const gone = await isCollected(async (watch) => {
      for (let i = 0; i < 10; i++) queue.push(watch({ i }));
      queue.push({});
      await read.take(10);
    });
    assert.equal(gone, true);
    assert.equal(queue.size, 1);
  });
});
