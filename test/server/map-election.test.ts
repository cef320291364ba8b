import assert from "node:assert/strict";
import { Code } from "@connectrpc/connect";
import { test } from "vitest";
import { LEASE_MS, mapGroupServers, onPrimary } from "../support/map-group.js";
import { live } from "../support/map-servers.js";
import { until } from "../support/until.js";

test("the first server that is asked becomes the primary; the others name it", async () => {
  await using group = mapGroupServers();
  const [a, b] = [group.start("a"), group.start("b")];
  const version = await a.map.put("k", 1);
  assert.equal(version, 1n);
  assert.equal((await a.map.get("k"))?.value, 1);
  await assert.rejects(b.map.get("k"), { code: Code.Unavailable, message: /it is http:\/\/a\.test/ });
  await until(() => a.logged.some((line) => line.includes("a backup is in sync")));
  await a.map.put("k", 2);
  assert.deepEqual(await live(b.engine), ["k=2@2"]);
});

test("when the primary is killed, another server that is in sync takes over within about the lease", async () => {
  await using group = mapGroupServers();
  const servers = ["a", "b", "c"].map((name) => group.start(name));
  const [a, ...others] = servers as [(typeof servers)[0], ...typeof servers];
  for (let i = 0; i < 20; i++) await a.map.put(`k${i}`, i);
  await until(() => a.logged.filter((line) => line.includes("a backup is in sync")).length === 2);
  const last = await a.map.put("last", 1);
  group.kill(a);
  const startedAtMs = performance.now();
  const next = await onPrimary(others, ({ map }) => map.put("next", 1));
  const tookMs = performance.now() - startedAtMs;
  assert.ok(next > last);
  assert.ok(tookMs < 3 * LEASE_MS, `${tookMs} ms`);
  for (let i = 0; i < 20; i++) {
    assert.equal((await onPrimary(others, ({ map }) => map.get(`k${i}`)))?.value, i);
  }
});
