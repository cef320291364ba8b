import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { createMap, createState, json, text, type UnreadableFacts, unreadableFacts } from "../src/index.js";
import { utf8 } from "../src/internal/utf8.js";
import { openHere } from "./doors.js";

const BROKEN = "{ not JSON";

/** Fails unless `read` throws `data_loss` about a value of these bytes, found there, and says so in its message. */
function isUnreadable(
  read: () => unknown,
  where: Omit<UnreadableFacts, "bytes">,
  bytes = utf8(BROKEN),
): void {
  assert.throws(read, (error) => {
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, Code.DataLoss);
    for (const value of Object.values(where)) assert.ok(error.message.includes(String(value)), error.message);
    assert.ok(error.cause instanceof SyntaxError);
    assert.deepEqual({ ...unreadableFacts(error) }, { ...where, bytes });
    return true;
  });
}

test("state: get() and getMany() go on over a value that cannot be decoded; only reading it fails", async () => {
  await using at = await openHere();
  await createState(at.transport, "default", { codec: text() }).set("bad", BROKEN);
  const store = createState<number>(at.transport, "default");
  await store.set("good", 1);
  const found = await store.getMany(["good", "bad", "missing"]);
  assert.deepEqual([...found.keys()], ["good", "bad"]);
  assert.equal(found.errors.size, 0);
  assert.equal(found.get("good")?.value, 1);
  for (const entry of [found.get("bad"), await store.get("bad")]) {
    assert.deepEqual([entry?.key, typeof entry?.etag], ["bad", "string"]);
    isUnreadable(() => entry?.value, { store: "default", key: "bad" });
  }
  const { etag } = (await store.get("good")) ?? {};
  const shown = { key: "good", value: 1, etag, ttlRemainingMs: undefined };
  assert.equal(inspect(await store.get("good")), inspect(shown));
});

test("state: update() fails over such a value, unless it is to be replaced, and then over its etag only", async () => {
  await using at = await openHere();
  const broken = createState(at.transport, "default", { codec: text() });
  await broken.set("k", BROKEN);
  const store = createState<number>(at.transport, "default");
  await assert.rejects(
    store.update("k", () => 1),
    { code: Code.DataLoss },
  );
  assert.equal((await broken.get("k"))?.value, BROKEN);
  const seen: unknown[] = [];
  const change = async (value: number | undefined) => {
    seen.push(value);
    // Another writer is faster once: its value, which cannot be decoded either, must be read first.
    if (seen.length === 1) await broken.set("k", `${BROKEN}, again`);
    return 2;
  };
  assert.equal(await store.update("k", change, { replaceUnreadable: true }), 2);
  assert.deepEqual(seen, [undefined, undefined]);
  assert.equal((await store.get("k"))?.value, 2);
  // An error of the caller's own is not taken for one.
  const own = () => {
    throw new ConnectError("mine", Code.DataLoss);
  };
  await assert.rejects(store.update("k", own, { replaceUnreadable: true }), /mine/);
});

test("map: get() and remove() give the entry, and compute() replaces its value where it may", async () => {
  await using at = await openHere();
  const broken = createMap(at.transport, "seats", { codec: text() });
  const version = await broken.put("12A", BROKEN);
  const seats = createMap<number>(at.transport, "seats");
  const found = await seats.get("12A");
  assert.equal(found?.version, version);
  isUnreadable(() => found?.value, { map: "seats", key: "12A" });
  await assert.rejects(
    seats.compute("12A", () => 1),
    { code: Code.DataLoss },
  );
  const replaced = await seats.compute("12A", (seat) => seat ?? 3, { replaceUnreadable: true });
  assert.equal(replaced?.value, 3);
  await broken.put("12A", BROKEN);
  const removed = await seats.remove("12A");
  isUnreadable(() => removed?.value, { map: "seats", key: "12A" });
  assert.equal(await seats.get("12A"), undefined);
});

test("bytes that are not UTF-8 are no text and no JSON", () => {
  for (const codec of [text(), json()]) {
    assert.throws(() => codec.decode(new Uint8Array([0x22, 0xff, 0x22])), TypeError);
  }
});
