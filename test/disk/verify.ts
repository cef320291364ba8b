import assert from "node:assert/strict";
import { collect } from "../../src/conformance/engine/reader.js";
import { neverAborts } from "../../src/conformance/engine/timing.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import type { Engine } from "../../src/server/engine.js";
import { ACTORS, contentOf, LOGS, type Note } from "./work.js";

/** Fails unless the engine has all writes that were acknowledged by the notes, and none that was not requested. */
export async function verify(engine: Engine, notes: Note[], note: (note: Note) => void): Promise<void> {
  await verifyKeys(engine, notes);
  for (const log of LOGS) await verifyLog(engine, log, notes);
  await verifyBlobs(engine, notes);
  await verifyTopic(engine, notes, note);
}

/** The last acknowledged turn, and all requested turns after it, which may have been written. */
function possible<N extends { is: "?" | "!"; turn: number }>(notes: N[]): N[] {
  const last = notes.filter(({ is }) => is === "!").at(-1);
  const later = notes.filter(({ is, turn }) => is === "?" && (!last || turn > last.turn));
  return last ? [last, ...later] : later;
}

async function verifyKeys({ keys }: Engine, notes: Note[]): Promise<void> {
  let newest = 0n;
  for (let actor = 0; actor < ACTORS; actor++) {
    const own = notes.filter((one) => one.on === "keys").filter((one) => one.actor === actor);
    const acknowledged = own.some(({ is }) => is === "!");
    const [a, b] = await keys.getMany([`a${actor}`, `b${actor}`]);
    assert.deepEqual(a?.value, b?.value, "what is written together is there together");
    assert.equal(a?.version, b?.version);
    assert.ok(!b || b.expiresAtMs !== undefined, "the lifetime is kept");
    const states = possible(own).map(({ gone, turn }) => (gone ? undefined : `${turn}`));
    if (!acknowledged) states.push(undefined);
    const found = a && fromUtf8(a.value);
    assert.ok(states.includes(found), `keys of actor ${actor}: found ${found}, possible ${states}`);
    for (const { version } of own) if (version && BigInt(version) > newest) newest = BigInt(version);
  }
  const commit = await keys.commit([{ type: "set", key: "version", value: utf8("") }]);
  assert.ok("version" in commit && commit.version > newest, "versions do not go back");
  let last = "";
  for await (const { key, value } of keys.list("pad")) {
    assert.ok(key > last, "the list is in order");
    last = key;
    assert.match(fromUtf8(value), /^\d+:x*$/);
  }
}

async function verifyLog({ logs }: Engine, log: string, notes: Note[]): Promise<void> {
  const batches = await collect(logs.read(log, 1n, { follow: false, signal: neverAborts() }));
  const records = batches.flat();
  const { next } = await logs.bounds(log);
  assert.equal(Number(next), records.length + 1);
  const texts = records.map(({ value }) => fromUtf8(value));
  let timestampMs = 0;
  for (const [at, record] of records.entries()) {
    assert.equal(Number(record.offset), at + 1, "offsets have no gaps");
    assert.ok(record.timestampMs >= timestampMs, "times do not go back");
    timestampMs = record.timestampMs;
  }
  for (let at = 0; at < texts.length; ) {
    const [actor, turn, i, count] = (texts[at] as string).split(".");
    assert.equal(i, "0", "an append begins at its first value");
    for (let j = 0; j < Number(count); j++) {
      assert.ok(texts[at + j]?.startsWith(`${actor}.${turn}.${j}.${count}.`), "an append is whole");
    }
    at += Number(count);
  }
  for (const one of notes) {
    if (one.on !== "log" || one.log !== log || one.is !== "!") continue;
    const { first = 0, actor, turn, count } = one;
    assert.ok(
      texts[first - 1]?.startsWith(`${actor}.${turn}.0.${count}.`),
      `record ${first} of ${log} is missing`,
    );
  }
}

async function verifyBlobs({ blobs }: Engine, notes: Note[]): Promise<void> {
  for (let actor = 0; actor < 3; actor++) {
    const own = notes.filter((one) => one.on === "blob").filter((one) => one.actor === actor);
    const turns = possible(own).map(({ turn }) => `${turn}`);
    const found = await blobs.get(`f${actor}`);
    if (!found) {
      assert.ok(!own.some(({ is }) => is === "!"), `blob f${actor} is missing`);
      continue;
    }
    const turn = found.info.metadata["turn"] ?? "";
    assert.ok(turns.includes(turn), `blob f${actor} is of turn ${turn}, possible ${turns}`);
    assert.deepEqual(Buffer.concat(await collect(found.content)), Buffer.from(contentOf(Number(turn))));
  }
}

async function verifyTopic({ topics }: Engine, notes: Note[], note: (note: Note) => void): Promise<void> {
  const ids = (on: "publish" | "ack", is: "?" | "!") =>
    new Set(notes.flatMap((one) => (one.on === on && one.is === is ? one.ids : [])));
  const [asked, published, acking, acked] = [
    ids("publish", "?"),
    ids("publish", "!"),
    ids("ack", "?"),
    ids("ack", "!"),
  ];
  const due = [...published].filter((id) => !acking.has(id));
  const seen = new Set<string>();
  const enough = new AbortController();
  let busy = false;
  const drained = (async () => {
    for await (const event of topics.consume("t", "g", enough.signal)) {
      const id = fromUtf8(event.value);
      assert.ok(asked.has(id), `event ${id} was never published`);
      assert.ok(!acked.has(id), `event ${id} was acknowledged, and is there again`);
      assert.ok(!seen.has(id), `event ${id} is there twice`);
      seen.add(id);
      busy = true;
      note({ on: "ack", is: "?", ids: [id] });
      await event.ack();
      note({ on: "ack", is: "!", ids: [id] });
      busy = false;
    }
  })();
  for (let stillMs = 0, count = -1; stillMs < 60; stillMs = busy || seen.size > count ? 0 : stillMs + 10) {
    count = seen.size;
    await sleep(10);
  }
  enough.abort();
  await drained;
  const missing = due.filter((id) => !seen.has(id));
  assert.deepEqual(missing, [], "events that were published are missing");
}
