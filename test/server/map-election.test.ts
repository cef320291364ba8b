import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { ResponseStatus } from "../../gen/atomix/pb/headers/headers_pb.js";
import { EntrySchema, MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { retryAfterMs } from "../../src/client/errors.js";
import { createMap } from "../../src/client/map.js";
import { MAP_COPY_HEADER } from "../../src/rpc/extension-headers.js";
import { sleep } from "../../src/rpc/sleep.js";
import { controlEntry } from "../../src/server/services/map/control.js";
import { COPY_KEY } from "../../src/server/services/map/copies.js";
import { type GroupServer, LEASE_MS, mapGroupServers, onPrimary } from "../support/map-group.js";
import { lasting, live } from "../support/map-servers.js";
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

/** Waits until all copies of the map `m` are in sync with `primary`. */
const allInSync = (primary: GroupServer, backups: number) => until(() => inSyncOf(primary) === backups + 1);

/** The size of the in-sync set that a server has logged last. */
function inSyncOf({ logged }: GroupServer): number {
  const [last] = logged.flatMap((line) => /"inSync":(\d+)/.exec(line)?.[1] ?? []).slice(-1);
  return Number(last ?? 0);
}

test("a primary that is cut off acknowledges nothing, and what it wrote disappears when it returns", async () => {
  await using group = mapGroupServers();
  const [a, b, c] = [group.start("a"), group.start("b"), group.start("c")];
  await a.map.put("kept", 1);
  await a.map.put("removed", 1);
  await allInSync(a, 2);
  for (const other of [b, c]) {
    group.link(a, other, false);
    group.link(other, a, false);
  }
  group.elects(a, false);
  const lost = [a.map.put("kept", 99), a.map.put("stray", 99), a.map.remove("removed")].map((write) =>
    assert.rejects(write, { code: Code.Unavailable, message: /may have taken effect/ }),
  );
  await Promise.all(lost);
  await assert.rejects(a.map.get("kept"), { code: Code.Unavailable, message: /lease/ });
  const version = await onPrimary([b, c], ({ map }) => map.put("kept", 2));
  assert.ok(version > 1n << 32n);
  assert.deepEqual((await live(a.engine)).sort(), ["kept=99@3", "stray=99@4"]);
  for (const other of [b, c]) {
    group.link(a, other, true);
    group.link(other, a, true);
  }
  group.elects(a, true);
  await until(async () => (await live(a.engine)).join() === (await live(b.engine)).join());
  await until(async () => (await live(a.engine)).join() === (await live(c.engine)).join());
  assert.deepEqual((await live(a.engine)).sort(), [`kept=2@${version}`, "removed=1@2"]);
});

test("while the electing engine is away, a primary serves until its lease ends, and again when it is back", async () => {
  await using group = mapGroupServers();
  const a = group.start("a");
  await a.map.put("k", 1);
  group.elects(a, false);
  assert.equal((await a.map.get("k"))?.value, 1);
  await sleep(LEASE_MS);
  const error = await a.map.get("k").catch((error: unknown) => error);
  assert.equal(ConnectError.from(error).code, Code.Unavailable);
  assert.ok((retryAfterMs(error) ?? 0) > 0);
  await assert.rejects(a.map.put("k", 2), { code: Code.Unavailable });
  group.elects(a, true);
  await until(() =>
    a.map.put("k", 3).then(
      () => true,
      () => false,
    ),
  );
});

test("a backup that is lost leaves the set before writes are acknowledged without it, and does not take over", async () => {
  await using group = mapGroupServers();
  const [a, b] = [group.start("a"), group.start("b")];
  await a.map.put("k", 1);
  await allInSync(a, 1);
  group.link(a, b, false);
  await a.map.put("k", 2);
  assert.equal(inSyncOf(a), 1);
  const { body } = await a.server.metrics(null);
  assert.match(body, /^fairlead_map_terms_total 1$/m);
  assert.match(body, /^fairlead_map_backups_lost_total 1$/m);
  group.kill(a);
  await sleep(3 * LEASE_MS);
  await assert.rejects(b.map.get("k"), { code: Code.Unavailable, message: /none of the servers/ });
});

test("without a server in sync the partition waits for one; uncleanElection gives it to another", async () => {
  await using group = mapGroupServers();
  const engine = lasting();
  const [a, b] = [group.start("a", { engine }), group.start("b")];
  await a.map.put("k", 1);
  await allInSync(a, 1);
  group.link(a, b, false);
  await a.map.put("k", 2);
  group.kill(a);
  await sleep(2 * LEASE_MS);
  await b.close();
  const forced = group.start("b", { engine: b.engine, uncleanElection: true });
  const version = await onPrimary([forced], ({ map }) => map.put("other", 3));
  assert.ok(version > 1n << 32n, "above all versions that the lost servers may have given");
  assert.equal((await forced.map.get("k"))?.value, 1);
  assert.ok(forced.logged.some((line) => line.includes("acknowledged writes may be lost")));
  const back = group.start("a", { engine });
  await until(async () => (await live(back.engine)).join() === (await live(forced.engine)).join());
});

test("a server that restarts with its data takes over at once; one that restarts empty is not in sync", async () => {
  await using group = mapGroupServers();
  const engine = lasting();
  const a = group.start("a", { engine });
  const version = await a.map.put("k", 1);
  group.kill(a);
  const again = group.start("a", { engine });
  const startedAtMs = performance.now();
  assert.equal((await onPrimary([again], ({ map }) => map.get("k")))?.version, version);
  assert.ok(performance.now() - startedAtMs < LEASE_MS, "without waiting for its former lease");
  group.kill(again);
  const empty = group.start("a");
  await sleep(3 * LEASE_MS);
  await assert.rejects(empty.map.get("k"), { code: Code.Unavailable, message: /none of the servers/ });
});

test("a server that closes hands over: writes go on without waiting for a lease", async () => {
  await using group = mapGroupServers();
  const [a, b] = [group.start("a", { leaseMs: 60_000 }), group.start("b", { leaseMs: 60_000 })];
  await a.map.put("k", 1);
  await allInSync(a, 1);
  const writes = Array.from({ length: 20 }, (_, i) => a.map.put("k", i).catch(() => 0n));
  const startedAtMs = performance.now();
  await a.close();
  await onPrimary([b], ({ map }) => map.put("next", 1));
  assert.ok(performance.now() - startedAtMs < 2000);
  const acknowledged = (await Promise.all(writes)).filter((version) => version > 0n);
  const last = (await onPrimary([b], ({ map }) => map.get("k")))?.version ?? 0n;
  assert.ok(last >= (acknowledged.at(-1) ?? 0n));
});

test("partitions spread over the servers, and back when one drains", async () => {
  await using group = mapGroupServers();
  const servers = [group.start("a"), group.start("b"), group.start("c")];
  const [a] = servers as [GroupServer];
  const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
  const maps = servers.map(({ server }) =>
    createMap<number>(server.transport(), "spread", { partitions: 6 }),
  );
  const each = (call: (map: (typeof maps)[0], key: string) => Promise<unknown>) =>
    Promise.all(
      keys.map((key) =>
        onPrimary(servers, (server) => call(maps[servers.indexOf(server)] as (typeof maps)[0], key)),
      ),
    );
  await each((map, key) => map.put(key, 1));
  const led = async (server: GroupServer) => {
    const reads = await Promise.allSettled(
      keys.map((key) => (maps[servers.indexOf(server)] as (typeof maps)[0]).get(key)),
    );
    return reads.filter(({ status }) => status === "fulfilled").length;
  };
  await until(async () => (await Promise.all(servers.map(led))).every((count) => count > 0));
  a.server.drain();
  await until(async () => (await led(a)) === 0);
  await each((map, key) => map.put(key, 2));
});

test("a request of an earlier stream does not restore what the comparison of a later one has dropped", async () => {
  await using group = mapGroupServers();
  const backup = group.start("a");
  // Any request to the partition creates the id of the copy.
  await backup.map.get("other").catch(() => {});
  const copy = new TextDecoder().decode((await backup.engine.keys.get(COPY_KEY))?.value);
  const wire = createClient(MapService, backup.server.transport());
  const header = { protocol: { name: "default" }, primitive: { name: "m" }, partition: 1 };
  const term = 1000n;
  const written = create(EntrySchema, {
    key: "k",
    value: { value: new TextEncoder().encode("1"), version: 1n },
    digest: { term, timestamp: 1n },
  });
  const send = async (stream: bigint, entries: (typeof written)[], range?: { upTo: bigint }) => {
    const control = controlEntry({ term, stream, ...(range && { range }) });
    const request = (async function* () {
      yield { header, entries: [control, ...entries] };
    })();
    for await (const answer of wire.backup(request, { headers: { [MAP_COPY_HEADER]: copy } }))
      return answer.header?.status;
    return undefined;
  };
  assert.equal(await send(1n, [written]), ResponseStatus.OK);
  assert.deepEqual(await live(backup.engine), ["k=1@1"]);
  assert.equal(await send(2n, [], { upTo: 5n }), ResponseStatus.OK);
  assert.deepEqual(await live(backup.engine), []);
  await assert.rejects(send(1n, [written]), { code: Code.Unavailable, message: /a later stream/ });
  assert.deepEqual(await live(backup.engine), []);
});
