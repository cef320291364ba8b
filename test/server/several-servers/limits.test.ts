import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { createLock, createLog, createMap, createSequencer } from "../../../src/index.js";
import { openSeveral, type SeveralServers } from "../../support/several-servers.js";
import { testEngine } from "../../support/test-engine.js";
import { until } from "../../support/until.js";

/** The limit that the call exceeds; "none" if it succeeds. */
const limitOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "none",
    (reason: unknown) => {
      const error = ConnectError.from(reason);
      assert.equal(error.code, Code.ResourceExhausted, error.message);
      return error.findDetails(ErrorInfoSchema)[0]?.metadata["limit"] ?? "";
    },
  );

type Create = (at: SeveralServers, server: number, name: string) => Promise<unknown>;

const transportOf = ({ servers }: SeveralServers, server: number) =>
  servers[server % servers.length]?.transport ?? assert.fail();

const LIMITS: [limit: string, create: Create][] = [
  ["locks", async (at, i, name) => createLock(transportOf(at, i), "default").tryAcquire(name)],
  ["sequencerKeys", (at, i, name) => createSequencer(transportOf(at, i), "default").next(name)],
  ["logs", (at, i, name) => createLog(transportOf(at, i), name).append(["x"])],
  ["mapPartitions", (at, i, name) => createMap(transportOf(at, i), name, { partitions: 1 }).put("k", 1)],
];

for (const [limit, create] of LIMITS) {
  test(`limits.${limit} holds for all servers together`, async () => {
    await using at = await openSeveral({ config: { limits: { [limit]: 5 } } });
    for (let i = 0; i < 5; i++) assert.equal(await limitOf(create(at, i, `n${i}`)), "none");
    // A server learns a moment later of what another one has created.
    await until(async () => (await limitOf(create(at, 0, `more-${Math.random()}`))) === limit);
    for (let i = 0; i < 3; i++) {
      await until(async () => (await limitOf(create(at, i, `more-${Math.random()}`))) === limit);
      assert.equal(await limitOf(create(at, i, "n1")), "none", "what exists is used");
    }
  });
}

test("limits.logs and limits.mapPartitions hold exactly, also if all servers create at the same time", async () => {
  for (const [limit, create] of LIMITS.slice(2)) {
    await using at = await openSeveral({ config: { limits: { [limit]: 5 } } });
    const results = await Promise.all(Array.from({ length: 30 }, (_, i) => limitOf(create(at, i, `n${i}`))));
    assert.equal(results.filter((result) => result === "none").length, 5, `${limit}: ${results}`);
  }
});

/** Declares a test that replaces a method of the memory engine. */
const onMemory = testEngine === undefined ? test : () => {};

onMemory("a key whose creation fails is not counted, and one of which that is not known is", async () => {
  await using at = await openSeveral({ count: 1, config: { limits: { sequencerKeys: 2 } } });
  const { keys } = at.engine;
  const commit = keys.commit.bind(keys);
  let isLost = true;
  let isDone = false;
  keys.commit = async (writes) => {
    const result = isLost && !isDone ? undefined : await commit(writes);
    // The engine reports the key before the call fails.
    if (isLost) await sleep(30);
    if (isLost) throw new ConnectError("the answer was lost", Code.Unavailable);
    return result ?? assert.fail();
  };
  const next = (name: string) => createSequencer(transportOf(at, 0), "default").next(name);
  for (const name of ["a", "b", "c"]) await assert.rejects(next(name), { code: Code.Unavailable });
  isDone = true;
  await assert.rejects(next("d"), { code: Code.Unavailable });
  isLost = false;
  await next("e");
  await until(async () => (await limitOf(next(`more-${Math.random()}`))) === "sequencerKeys");
  await next("d");
});
