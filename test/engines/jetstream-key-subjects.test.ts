import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { test } from "vitest";
import { compareUtf8 } from "../../src/lib/compare-utf8.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import {
  filterOfPrefix,
  filtersOfSubject,
  keyOfSubject,
  sortKey,
  subjectOfKey,
  subjectOfSortKey,
  subjectStart,
} from "../../src/server/engines/jetstream/keys/key-subjects.js";
import { Turns } from "../../src/server/engines/jetstream/keys/turns.js";

const ROOT = "fairlead.k.";

/** Characters next to which encodings go wrong: the lowest, those around dots and dashes, and those of several bytes. */
const CHARACTERS = ["\0", "\u0001", "-", ".", "/", "0", "a", "z", "~", "\u007f", "é", "\uffff", "😀"];

/** Keys of up to `most` characters, the same in each run. */
function someKeys(count: number, most: number): string[] {
  let state = 1;
  const random = (below: number) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
  return Array.from({ length: count }, () =>
    Array.from({ length: random(most + 1) }, () => CHARACTERS[random(CHARACTERS.length)]).join(""),
  );
}

const subjectOf = (key: string) => subjectOfKey(ROOT, key).subject;

const matches = (filter: string, subject: string) => subject.startsWith(filter.slice(0, -1));

test("a subject gives back its key, has no empty token, and none with a character that NATS forbids", () => {
  for (const key of ["", ...someKeys(2000, 12)]) {
    const subject = subjectOf(key);
    assert.equal(keyOfSubject(ROOT, subject), key);
    assert.match(subject, /^fairlead\.k(\.=[-\w]*){1,3}$/);
  }
});

test("subjects sort as their keys", () => {
  const keys = [...new Set(someKeys(2000, 8))].sort(compareUtf8);
  const sorted = keys.map((key) => sortKey(subjectOf(key))).sort();
  assert.deepEqual(
    sorted.map((key) => keyOfSubject(ROOT, subjectOfSortKey(key))),
    keys,
  );
});

test("the filter and the start of a prefix match all keys under it", () => {
  const keys = [...someKeys(300, 6), "x".repeat(3000), `a\0${"y".repeat(3000)}`];
  for (const key of keys) {
    const subject = subjectOf(key);
    for (let length = 0; length <= key.length; length += key.length > 100 ? 499 : 1) {
      const prefix = key.slice(0, length);
      // Half of a character is no prefix of its bytes.
      if (fromUtf8(utf8(prefix)) !== prefix) continue;
      const filter = filterOfPrefix(ROOT, prefix);
      assert.ok(matches(filter, subject), `${filter} matches ${subject}`);
      assert.ok(subject.startsWith(subjectStart(ROOT, prefix)), `the start of ${JSON.stringify(prefix)}`);
      assert.ok(filtersOfSubject(ROOT, subject).includes(filter), `${filter} is a filter of ${subject}`);
    }
  }
});

test("a key of any length has a short subject of its own", () => {
  const long = [
    "x".repeat(5000),
    `${"x".repeat(5000)}y`,
    `a\0b\0${"x".repeat(5000)}`,
    `${"a".repeat(400)}\0`.repeat(9),
  ];
  assert.equal(new Set(long.map(subjectOf)).size, long.length);
  for (const key of long) {
    assert.ok(subjectOf(key).length < 2500, `${subjectOf(key).length} characters`);
    assert.equal(subjectOfKey(ROOT, key).isHashed, true);
    assert.equal(keyOfSubject(ROOT, subjectOf(key)), undefined);
  }
});

test("a commit whose condition was made false while it waited ends with the entry, if it came before the write", async () => {
  const turns = new Turns();
  const entry = { key: "k", value: new Uint8Array(0), version: 2n };
  assert.deepEqual(await turns.take(["k"], 1n), { type: "write" });
  const early = turns.take(["k"], 1n);
  turns.sent(["k"]);
  const late = turns.take(["k"], 1n);
  const next = turns.take(["k"], 2n);
  const unconditional = turns.take(["k"]);
  assert.equal(
    turns.end(["k"], () => ({ version: 2n, isWritten: true, entry })),
    true,
  );
  assert.deepEqual(await early, { type: "conflict", actual: entry });
  assert.deepEqual(await late, { type: "read" });
  assert.deepEqual(await next, { type: "write" });
  // The next one has the turn until it ends it.
  assert.equal(await Promise.race([unconditional, setImmediate("waits")]), "waits");
  turns.end(["k"], () => undefined);
  assert.deepEqual(await unconditional, { type: "write" });
});

test("commits of several keys wait for each of them, and not for each other", async () => {
  const turns = new Turns();
  await turns.take(["a"]);
  const both = turns.take(["b", "a"]);
  const reverse = turns.take(["a", "b"]);
  assert.equal(await Promise.race([both, setImmediate("waits")]), "waits");
  turns.end(["a"], () => undefined);
  assert.deepEqual(await both, { type: "write" });
  turns.end(["b", "a"], () => undefined);
  assert.deepEqual(await reverse, { type: "write" });
});
