import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { createClient } from "../../src/client/client.js";
import { randomFrom } from "../../src/lib/seeded-random.js";
import { sleep } from "../../src/rpc/sleep.js";
import type { Engine } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { until } from "../support/until.js";
import { faultyEngines } from "./faulty-engines.js";
import { areComplete, judge } from "./judge.js";
import { type Operation, Recorder } from "./operation.js";
import { runWorkloads } from "./workload.js";
import { countSkipped, events, noteFullDisk } from "./workloads/events.js";
import { workloads } from "./workloads.js";

const CLIENTS = 3;

/** How many operations of the tested workload and of each other one a run has, whatever time they take. */
const TESTED = 150;
const OTHERS = 20;

/** The history of clients of one server on `engine`, in this process. */
async function run(engine: Engine, tested: string): Promise<Operation[]> {
  const operations: Operation[] = [];
  const count = (name: string) => operations.filter(({ workload }) => workload === name).length;
  await using server = createServer({ engine, platform: nodePlatform });
  const [stop, end] = [new AbortController(), new AbortController()];
  const open = barrier(CLIENTS);
  const running = Array.from({ length: CLIENTS }, async (_, i) => {
    await using fairlead = createClient(server.transport(), { closeTransport: false });
    const name = `c${i}`;
    await runWorkloads(workloads, {
      name,
      fairlead,
      withoutRetry: fairlead,
      engine,
      record: new Recorder(name, (operation) => operations.push(operation)),
      chance: randomFrom(i + 1),
      pace: 0.25,
      stopped: stop.signal,
      ended: end.signal,
      allOpen: open,
    });
    await untilAborted(end.signal);
  });
  await until(() => workloads.every(({ name }) => count(name) >= (name === tested ? TESTED : OTHERS)));
  stop.abort();
  for (let i = 0; i < 100 && !areComplete(operations); i++) await sleep(20);
  const fairlead = createClient(server.transport(), { closeTransport: false });
  const record = new Recorder("final", (operation) => operations.push(operation));
  for (const { readFinal } of workloads) await readFinal?.({ fairlead, record });
  end.abort();
  await Promise.all(running);
  return operations;
}

/** A function whose promises resolve when it was called `count` times. */
function barrier(count: number): () => Promise<void> {
  let waiting = count;
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  return () => {
    if (--waiting === 0) release();
    return released;
  };
}

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });

describe("the checks of a history", () => {
  test("find nothing wrong in what a correct engine did", async () => {
    const operations = await run(memoryEngine(), "registers");
    assert.deepEqual(judge(operations), []);
    for (const { name } of workloads) {
      const done = operations.filter(({ workload, outcome }) => workload === name && outcome === "ok");
      assert.ok(done.length >= OTHERS / 2, `${name} did only ${done.length} operations`);
    }
  });

  test.for(faultyEngines)("find an engine that $fault", async ({ wrap, workload, message }) => {
    const violations = judge(await run(wrap(memoryEngine()), workload));
    const found = violations.filter((violation) => violation.workload === workload);
    assert.match(found.map((violation) => violation.message).join("\n"), message, JSON.stringify(violations));
  });
});

describe("the check of events, when a disk was full", () => {
  /** The history of one group: when events are published and delivered. A disk is full from 50 to 60. */
  function history(publishedAt: Record<string, number>, deliveredAt: Record<string, number>): Operation[] {
    const operations: Operation[] = [];
    const record = new Recorder("c0", (operation) => operations.push(operation));
    const at = (calledAt: number) => ({ calledAt, returnedAt: calledAt + 1 });
    for (const [data, time] of Object.entries(publishedAt)) {
      record.note({ workload: "events", kind: "publish", input: data }, at(time));
    }
    for (const [data, time] of Object.entries(deliveredAt)) {
      const input = { id: data, data, stream: "c0.1" };
      record.note({ workload: "events", kind: "delivery", key: "group", input }, at(time));
    }
    noteFullDisk(record, { calledAt: 50, returnedAt: 60 });
    return operations;
  }

  test("leaves out what waited for the group then, and counts it", () => {
    const operations = history({ a: 10, b: 20, c: 55, d: 70 }, { a: 45, d: 80 });
    events.check(operations);
    assert.equal(countSkipped(operations), 2);
  });

  test("finds an event that was lost earlier", () => {
    const operations = history({ a: 10, b: 20 }, { b: 45 });
    assert.throws(() => events.check(operations), /group group never got a: /);
    assert.equal(countSkipped(operations), 0);
  });

  test("finds an event that was published later", () => {
    const operations = history({ a: 10, b: 20, c: 60 }, { a: 45 });
    assert.throws(() => events.check(operations), /group group never got c: /);
    assert.equal(countSkipped(operations), 1);
  });

  test("finds what waited for a group when no disk was full", () => {
    const operations = history({ a: 10, b: 20 }, { a: 45 }).filter(({ kind }) => kind !== "full disk");
    assert.throws(() => events.check(operations), /group group never got b: /);
  });
});
