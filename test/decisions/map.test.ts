import assert from "node:assert/strict";
import { type Client, Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { ResponseStatus, ResponseType } from "../../gen/atomix/pb/headers/headers_pb.js";
import { MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fnv1a32 } from "../../src/internal/fnv.js";
import { fromUtf8, utf8 } from "../../src/internal/utf8.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openHere } from "../doors.js";
import {
  contents,
  entryOf,
  fakeBackup,
  header,
  lasting,
  live,
  serve,
  serveHere,
  until,
} from "../map-servers.js";
import { failure } from "./failure.js";

const ELSEWHERE = "http://127.0.0.1:9";

async function open(options?: ServerOptions) {
  const at = await openHere(options);
  const maps = createClient(MapService, at.transport);
  const put = (key: string, value: string, version = 0n, headers = {}) =>
    maps.put({ header, key, value: { value: utf8(value), version } }, { headers });
  const get = async (key: string, where = header) => (await maps.get({ header: where, key })).value;
  const remove = (key: string, version = 0n, headers = {}) =>
    maps.remove({ header, key, value: { version } }, { headers });
  return { ...at, maps, put, get, remove, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

/** Sends `requests` in one Backup stream and gives the statuses of the answers. */
async function backup(wire: Client<typeof MapService>, ...requests: ReturnType<typeof entryOf>[][]) {
  const statuses: (ResponseStatus | undefined)[] = [];
  const stream = async function* () {
    for (const entries of requests) yield { header, entries };
  };
  for await (const answer of wire.backup(stream())) statuses.push(answer.header?.status);
  return statuses;
}

const { OK, ERROR } = ResponseStatus;

test("MapService addressing: protocol and primitive ids and the partition name a part of a map", async () => {
  await using at = await open();
  const places = [
    header,
    { ...header, partition: 2 },
    { ...header, protocol: { namespace: "prod", name: "default" } },
    { ...header, protocol: { namespace: "", name: "other" } },
    { ...header, primitive: { namespace: "app", name: "m" } },
    { ...header, primitive: { namespace: "", name: "m2" } },
  ];
  for (const [i, place] of places.entries()) {
    const { version } = await at.maps.put({ header: place, key: "k", value: { value: utf8(`${i}`) } });
    assert.equal(version, 1n, "each has a counter of its own");
  }
  for (const [i, place] of places.entries()) {
    assert.equal(fromUtf8((await at.get("k", place))?.value ?? new Uint8Array()), `${i}`);
  }
});

test("MapService addressing: the ids must be there and named, the partition 1 or more; namespaces may be empty", async () => {
  await using at = await open();
  const cases: [place: object | undefined, field: string][] = [
    [undefined, "header"],
    [{ ...header, protocol: undefined }, "header.protocol"],
    [{ ...header, protocol: { name: "" } }, "header.protocol.name"],
    [{ ...header, protocol: { name: "a\u0000b" } }, "header.protocol.name"],
    [{ ...header, protocol: { name: "a", namespace: "\n" } }, "header.protocol.namespace"],
    [{ ...header, primitive: undefined }, "header.primitive"],
    [{ ...header, primitive: { name: "" } }, "header.primitive.name"],
    [{ ...header, primitive: { name: "m", namespace: "\u0000" } }, "header.primitive.namespace"],
    [{ ...header, partition: 0 }, "header.partition"],
  ];
  for (const [place, field] of cases) {
    const where = place as typeof header;
    for (const call of [
      at.maps.get({ header: where, key: "k" }),
      at.maps.put({ header: where, key: "k", value: {} }),
      at.maps.remove({ header: where, key: "k" }),
    ]) {
      const error = await failure(call);
      assert.equal(error.code, Code.InvalidArgument, field);
      assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field);
    }
  }
});

test("MapService addressing: partition = FNV-1a 32 of the UTF-8 key mod N, 1-based", () => {
  assert.equal(fnv1a32("foobar"), 0xbf9cf968);
  assert.equal((fnv1a32("foobar") % 7) + 1, (0xbf9cf968 % 7) + 1);
});

test("MapService addressing: partitions are created on first use, within limits", async () => {
  await using at = await open({ config: { limits: { mapPartitions: 2 } } });
  const put = (partition: number, key = "k") =>
    at.maps.put({ header: { ...header, partition }, key, value: { value: utf8("v") } });
  for (let partition = 1; partition <= 20; partition++) {
    const place = { ...header, partition };
    assert.equal(await at.get("k", place), undefined, "reading creates nothing");
    await at.maps.remove({ header: place, key: "k" });
    assert.equal(
      (await failure(at.maps.put({ header: place, key: "k", value: { version: 9n } }))).code,
      Code.Aborted,
    );
  }
  await Promise.all([put(1), put(2), put(1, "j"), put(2, "j")]);
  const refused = await Promise.all([3, 4, 5].map((partition) => failure(put(partition))));
  for (const error of refused) {
    assert.equal(error.code, Code.ResourceExhausted);
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.metadata["limit"], "mapPartitions");
  }
  await put(1, "still");
});

test("versions: one 64-bit counter per partition that never goes back, through removals too", async () => {
  await using at = await open();
  assert.equal((await at.put("a", "1")).version, 1n);
  assert.equal((await at.put("b", "1")).version, 2n);
  const { header: answered, value } = await at.remove("a");
  assert.deepEqual([answered?.type, answered?.status, value?.version], [ResponseType.RESPONSE, OK, 1n]);
  assert.equal((await at.put("a", "2")).version, 4n, "the removal counts as well");
  assert.equal((await at.get("a"))?.version, 4n);
});

test("versions: never go back through failovers", async () => {
  const engine = lasting();
  const primary = fakeBackup();
  const first = serveHere({ primary: ELSEWHERE }, { engine });
  const far = 2 ** 40;
  assert.deepEqual(await backup(first.wire, [entryOf("k", [1, far], 1)], [entryOf("k", [1, far + 1])]), [
    OK,
    OK,
  ]);
  await first.close();
  await using second = serveHere(
    { term: 2, backups: [ELSEWHERE] },
    { engine, dial: () => primary.transport },
  );
  const value = { value: utf8("1") };
  const { version } = await second.wire.put({ header, key: "k", value });
  assert.ok(version > BigInt(far + 1));
  const digest = primary.requests.at(-1)?.entries.at(-1)?.digest;
  assert.deepEqual([digest?.term, digest?.timestamp], [2n, version]);
});

test("versions: a partition whose counter is at its end refuses writes instead of going back", async () => {
  await using at = await open();
  const last = 2n ** 64n - 1n;
  const digest = { term: 1n, timestamp: last };
  const requests = async function* () {
    yield { header, entries: [{ key: "k", value: { version: last }, digest }] };
  };
  for await (const { header } of at.maps.backup(requests())) assert.equal(header?.status, OK);
  assert.equal((await failure(at.put("k", "v"))).code, Code.ResourceExhausted);
  assert.equal((await at.get("k"))?.version, last);
});

test("Put, Remove with value.version > 0: compare and set, a mismatch is aborted", async () => {
  await using at = await open();
  const { version } = await at.put("k", "1");
  const cases = [at.put("k", "2", version + 1n), at.remove("k", version + 1n)];
  for (const call of cases) {
    const error = await failure(call);
    assert.equal(error.code, Code.Aborted);
    const facts = error.findDetails(ErrorInfoSchema)[0]?.metadata;
    assert.deepEqual(facts, { key: "k", version: String(version) });
  }
  for (const call of [at.put("missing", "2", 7n), at.remove("missing", 7n)]) {
    const error = await failure(call);
    assert.equal(error.code, Code.Aborted, "an absent key has no version");
    assert.deepEqual(error.findDetails(ErrorInfoSchema)[0]?.metadata, { key: "missing", version: "0" });
  }
  const second = await at.put("k", "2", version);
  assert.equal(fromUtf8((await at.get("k"))?.value ?? new Uint8Array()), "2");
  const { value } = await at.maps.remove({
    header,
    key: "k",
    value: { value: utf8("ignored"), version: second.version },
  });
  assert.deepEqual([fromUtf8(value?.value ?? new Uint8Array()), value?.version], ["2", second.version]);
});

test("Put, Remove with value.version 0 or unset: unconditional, and a missing key is no error", async () => {
  await using at = await open();
  assert.equal((await at.maps.remove({ header, key: "k" })).value, undefined);
  assert.equal((await at.remove("k")).value, undefined);
  assert.equal(await at.get("k"), undefined);
  await at.put("k", "1");
  await at.put("k", "");
  const empty = await at.get("k");
  assert.deepEqual([empty?.value.length, empty?.version], [0, 2n], "an empty value is one");
  assert.equal((await at.maps.remove({ header, key: "k" })).value?.version, 2n);
});

test("Put with the request header fairlead-if-absent: only where there is no entry", async () => {
  await using at = await open();
  const ifAbsent = { "fairlead-if-absent": "true" };
  const { version } = await at.put("k", "1", 0n, ifAbsent);
  const error = await failure(at.put("k", "2", 0n, ifAbsent));
  assert.equal(error.code, Code.Aborted);
  assert.deepEqual(error.findDetails(ErrorInfoSchema)[0]?.metadata, { key: "k", version: String(version) });
  await at.remove("k");
  await at.put("k", "3", 0n, ifAbsent);
  await at.put("k", "4", 0n, { "fairlead-if-absent": "false" });
  assert.equal(
    (await failure(at.put("k", "5", 0n, { "fairlead-if-absent": "yes" }))).code,
    Code.InvalidArgument,
  );
  assert.equal((await failure(at.put("k", "5", 4n, ifAbsent))).code, Code.InvalidArgument);
});

test("etag, version or fence does not match (Put, Remove): aborted, with the resource and the newest fence", async () => {
  await using at = await open();
  const runtime = createClient(Runtime, at.transport);
  const lock = async () => {
    const given: { fence?: string | null } = {};
    const onHeader = (headers: Headers) => {
      given.fence = headers.get("fairlead-fence");
    };
    const request = { storeName: "default", resourceId: "r/1", lockOwner: "me", expire: 5 };
    assert.ok((await runtime.tryLock(request, { onHeader })).success);
    await runtime.unlock(request);
    return given.fence ?? "";
  };
  const [old, now] = [await lock(), await lock()];
  const under = (fence: string) => ({ "fairlead-fence": `default/r%2F1=${fence}` });
  await at.put("k", "1", 0n, under(now));
  for (const call of [at.put("k", "2", 0n, under(old)), at.remove("k", 0n, under(old))]) {
    const error = await failure(call);
    assert.equal(error.code, Code.Aborted);
    assert.deepEqual(error.findDetails(ErrorInfoSchema)[0]?.metadata, { key: "r/1", fence: now });
  }
  assert.equal(
    (await failure(at.put("k", "2", 0n, { "fairlead-fence": "nonsense" }))).code,
    Code.InvalidArgument,
  );
  assert.ok((await at.remove("k", 0n, under(now))).value);
});

test("not the primary of the partition: unavailable, with the primary's address in ErrorInfo", async () => {
  await using backup = serveHere({ primary: "https://primary.example:34904" });
  const { wire } = backup;
  for (const call of [
    wire.get({ header, key: "k" }),
    wire.put({ header, key: "k", value: {} }),
    wire.remove({ header, key: "k" }),
  ]) {
    const error = await failure(call);
    assert.equal(error.code, Code.Unavailable);
    assert.match(error.rawMessage, /not the primary/);
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.metadata["primary"], "https://primary.example:34904");
    assert.ok(error.findDetails(RetryInfoSchema)[0]);
  }
});

test("not the primary of the partition: also one that a later term has replaced, whatever its configuration says", async () => {
  await using deposed = serveHere({ term: 3 });
  await deposed.map.put("k", 1);
  assert.deepEqual(await backup(deposed.wire, [entryOf("k", [3, 90], 9)]), [ERROR], "the term is its own");
  assert.deepEqual(await backup(deposed.wire, [entryOf("k", [4, 90], 9)]), [OK]);
  for (const call of [
    deposed.wire.get({ header, key: "k" }),
    deposed.wire.put({ header, key: "k", value: {} }),
  ]) {
    const error = await failure(call);
    assert.equal(error.code, Code.Unavailable);
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.metadata["primary"], undefined);
  }
});

test("a limit is hit (key or value size): resource_exhausted, naming the limit", async () => {
  await using at = await open({ config: { limits: { valueBytes: 10 } } });
  const cases: [call: Promise<unknown>, limit: string][] = [
    [at.put("k".repeat(1025), "v"), "keyBytes"],
    [at.get("k".repeat(1025)), "keyBytes"],
    [at.put("k", "v".repeat(11)), "valueBytes"],
  ];
  for (const [call, limit] of cases) {
    const error = await failure(call);
    assert.equal(error.code, Code.ResourceExhausted);
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.metadata["limit"], limit);
  }
  assert.equal((await failure(at.put("", "v"))).code, Code.InvalidArgument);
});

test("the engine is away: unavailable, with RetryInfo", async () => {
  const closed = await open();
  await closed.server.close();
  for (const call of [closed.get("k"), closed.put("k", "1"), closed.remove("k")]) {
    const error = await failure(call);
    assert.equal(error.code, Code.Unavailable);
    assert.ok(error.findDetails(RetryInfoSchema)[0]);
  }
});

test("Backup: the digest decides, by term and then by timestamp", async () => {
  await using at = serveHere({ primary: ELSEWHERE });
  const statuses = await backup(
    at.wire,
    [entryOf("k", [1, 5], 5)],
    [entryOf("k", [1, 4], 4)],
    [entryOf("k", [1, 5], 55)],
    [entryOf("k", [2, 1], 1), entryOf("other", [1, 9], 9)],
    [entryOf("k", [2, 1], 11), entryOf("k", [1, 99], 99)],
  );
  assert.deepEqual(statuses, [OK, OK, OK, OK, OK]);
  assert.deepEqual(await contents(at.engine), ["k=1@1", "other=9@9"]);
});

test("Backup: one BackupResponse per BackupRequest, ERROR for an older term, of which nothing is applied", async () => {
  await using at = serveHere({ primary: ELSEWHERE });
  const statuses = await backup(
    at.wire,
    [entryOf("a", [2, 10], 1)],
    [entryOf("b", [1, 50], 2), entryOf("c", [1, 51], 3)],
    [],
    [entryOf("d", [2, 11], 4)],
  );
  assert.deepEqual(statuses, [OK, ERROR, OK, OK]);
  assert.deepEqual(await contents(at.engine), ["a=1@10", "d=4@11"]);
  assert.deepEqual(
    await backup(at.wire, [entryOf("e", [1, 99], 5)]),
    [ERROR],
    "another stream makes no difference",
  );
  assert.deepEqual(await contents(at.engine), ["a=1@10", "d=4@11"]);
});

test("Backup: what a backup keeps is told to the next server of its engine: the term, and the tombstones", async () => {
  const engine = lasting();
  const before = serveHere({ primary: ELSEWHERE }, { engine });
  await backup(before.wire, [entryOf("k", [2, 7])]);
  await before.close();
  await using after = serveHere({ primary: ELSEWHERE }, { engine });
  assert.deepEqual(await backup(after.wire, [entryOf("k", [1, 99], 9)]), [ERROR]);
  assert.deepEqual(await backup(after.wire, [entryOf("k", [2, 6], 6)]), [OK]);
  assert.deepEqual(await contents(engine), ["k-"]);
});

test("Backup: entries in order, and a put is acknowledged when all in-sync backups have it", async () => {
  const recorded = fakeBackup();
  await using primary = serveHere({ backups: [ELSEWHERE] }, { dial: () => recorded.transport });
  for (let i = 0; i < 10; i++) {
    await primary.map.put(`k${i % 3}`, i);
    const sent = recorded.requests.flatMap(({ entries }) => entries);
    assert.equal(sent.at(-1)?.value?.version, BigInt(i + 1));
  }
  await primary.map.remove("k0");
  const sent = recorded.requests.flatMap(({ entries }) => entries);
  assert.deepEqual([sent.at(-1)?.key, sent.at(-1)?.value], ["k0", undefined]);
  const timestamps = sent.map(({ digest }) => digest?.timestamp ?? 0n);
  assert.deepEqual(
    timestamps,
    timestamps.toSorted((a, b) => Number(a - b)),
  );
  assert.equal(recorded.streams(), 1, "all in one stream");
  assert.deepEqual(recorded.requests[0]?.header?.protocol?.name, "default");
});

test("Backup: tombstones are kept until every backup has them, and a new backup is filled by ordinary entries", async () => {
  await using steady = await serve({ primary: ELSEWHERE });
  await using late = serveHere({ primary: ELSEWHERE });
  let away = true;
  const dial = (url: string) => {
    if (url === "http://late" && away) throw new TypeError("away");
    return url === "http://late" ? late.server.transport() : steadyTransport;
  };
  const steadyTransport = steady.server.transport();
  await using primary = serveHere({ backups: [steady.url, "http://late"] }, { dial });
  await primary.map.put("kept", 1);
  await primary.map.put("gone", 2);
  await primary.map.remove("gone");
  assert.deepEqual(await contents(primary.engine), ["gone-", "kept=1@1"]);
  away = false;
  await until(async () => (await contents(primary.engine)).length === 1);
  assert.deepEqual(await contents(late.engine), ["gone-", "kept=1@1"]);
  assert.deepEqual(await live(steady.engine), ["kept=1@1"]);
});
