import assert from "node:assert/strict";
import { type Client, Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { ResponseStatus } from "../../gen/atomix/pb/headers/headers_pb.js";
import { MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { fnv1a32 } from "../../src/client/map/fnv.js";
import { utf8 } from "../../src/lib/utf8.js";
import type { ServerOptions } from "../../src/server/server.js";
import {
  contents,
  entryOf,
  fakeBackup,
  header,
  lasting,
  live,
  serve,
  serveHere,
} from "../support/map-servers.js";
import { openInProcess } from "../support/protocols.js";
import { until } from "../support/until.js";
import { failure } from "./failure.js";

const ELSEWHERE = "http://127.0.0.1:9";

async function open(options?: ServerOptions) {
  const at = await openInProcess(options);
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
