import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { Machine } from "./world/machine.js";
import { Network } from "./world/network.js";
import { Scheduler } from "./world/scheduler.js";

function open() {
  const scheduler = new Scheduler(1);
  const [a, b] = [new Machine("a", scheduler), new Machine("b", scheduler)];
  a.start();
  b.start();
  const seen: string[] = [];
  const runTo = (ms: number) => scheduler.runUntil(() => scheduler.nowMs >= ms);
  // So that time passes when nothing else happens.
  for (let ms = 1; ms < 1000; ms++) scheduler.after(ms, () => {});
  return { scheduler, network: new Network(scheduler), a, b, seen, runTo };
}

describe("Machine", () => {
  test("runs timers by its own clock", async () => {
    const { a, runTo } = open();
    const startMs = a.monotonicMs();
    let firedMs = 0;
    a.after(500, () => {
      firedMs = a.monotonicMs() - startMs;
    });
    await runTo(900);
    assert.ok(Math.abs(firedMs - 500) < 1e-6, `${firedMs} ms`);
    assert.notEqual(a.rate, 1);
  });

  test("gets nothing while it is paused, and everything afterwards", async () => {
    const { a, seen, runTo } = open();
    const { process } = a;
    a.after(10, () => seen.push("timer"));
    a.pause();
    await runTo(100);
    a.run(process, () => seen.push("message"));
    assert.deepEqual(seen, []);
    a.resume();
    await runTo(110);
    assert.deepEqual(seen.sort(), ["message", "timer"]);
  });

  test("never runs a task of a process that was killed", async () => {
    const { a, seen, runTo } = open();
    const { process } = a;
    a.after(10, () => seen.push("timer"));
    a.kill();
    a.start();
    a.run(process, () => seen.push("message"));
    await runTo(100);
    assert.deepEqual(seen, []);
  });
});

describe("Network", () => {
  test("keeps the order of a channel", async () => {
    const { network, a, b, seen, runTo } = open();
    const channel = { lastMs: 0 };
    for (let i = 0; i < 20; i++) network.send(a, b, channel, () => seen.push(String(i)));
    await runTo(100);
    assert.deepEqual(
      seen,
      Array.from({ length: 20 }, (_, i) => String(i)),
    );
  });

  test("holds the messages of a link that is cut in one direction, and delivers them when it is healed", async () => {
    const { network, a, b, seen, runTo } = open();
    network.cut("a", "b");
    network.send(a, b, { lastMs: 0 }, () => seen.push("there"));
    network.send(b, a, { lastMs: 0 }, () => seen.push("back"));
    await runTo(100);
    assert.deepEqual(seen, ["back"]);
    network.heal("a", "b");
    await runTo(200);
    assert.deepEqual(seen, ["back", "there"]);
  });

  test("loses the messages of a connection that breaks, and tells both ends", async () => {
    const { network, a, b, seen, runTo } = open();
    network.onBreak(b, a, (reason) => seen.push(reason));
    network.cut("a", "b");
    network.send(a, b, { lastMs: 0 }, () => seen.push("there"));
    network.break("a", "b", "reset");
    network.heal("a", "b");
    await runTo(100);
    assert.deepEqual(seen, ["reset"]);
  });
});
