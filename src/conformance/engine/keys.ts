import { utf8 } from "../../lib/utf8.js";
import type { DeclareEngineCase } from "../engine.js";
import { equal, ok } from "../expect.js";
import {
  blockUntil,
  collect,
  commitWrites,
  DISTINCT_NAMES,
  expectConflict,
  ORDERED_NAMES,
  patternBytes,
  set,
  waitUntilAfter,
} from "./steps.js";

/** Keyed bytes: reading, commits and their conditions, lifetimes, lists. */
export function engineKeyCases(on: DeclareEngineCase): void {
  keyReadCases(on);
  commitCases(on);
  versionConditionCases(on);
  absentConditionCases(on);
  checkCases(on);
  keyExpiryCases(on);
  keyTtlCases(on);
  keyListCases(on);
  keyListPageCases(on);
}

function keyReadCases(on: DeclareEngineCase): void {
  on("keys.get() of a key that was never written is undefined", async ({ keys }) => {
    equal(await keys.get("k"), undefined);
  });

  on("keys.get() gives the value and version of the commit", async ({ keys }) => {
    const version = await commitWrites(keys, set("k", "v"));
    equal(await keys.get("k"), { key: "k", value: utf8("v"), version });
  });

  on("keys.get() tells an empty value from none", async ({ keys }) => {
    await commitWrites(keys, set("k", ""));
    equal((await keys.get("k"))?.value, new Uint8Array());
  });

  on("keys.get() gives back every byte of a large value", async ({ keys }) => {
    const value = patternBytes(4 * 1024 ** 2);
    await commitWrites(keys, { type: "set", key: "k", value });
    equal((await keys.get("k"))?.value, value);
  });

  on("keys are opaque: no two that differ are the same", async ({ keys }) => {
    for (const name of DISTINCT_NAMES) await commitWrites(keys, set(name, `of ${name}`));
    for (const name of DISTINCT_NAMES) equal((await keys.get(name))?.value, utf8(`of ${name}`), name);
  });

  on("keys.getMany() answers in the order of the keys, one that is named twice twice", async ({ keys }) => {
    await commitWrites(keys, set("a"), set("b"));
    const found = await keys.getMany(["b", "missing", "a", "b"]);
    equal(
      found.map((entry) => entry?.key),
      ["b", undefined, "a", "b"],
    );
    equal(await keys.getMany([]), []);
  });

  on("keys.getMany() sees all keys as they were at one moment", async ({ keys }) => {
    await commitWrites(keys, set("a", "0"), set("b", "0"));
    const write = async () => {
      for (let i = 1; i <= 50; i++) await commitWrites(keys, set("a", `${i}`), set("b", `${i}`));
    };
    const read = async () => {
      for (let i = 0; i < 50; i++) {
        const [a, b] = await keys.getMany(["a", "b"]);
        equal(a?.value, b?.value, "two keys that are written together");
        equal(a?.version, b?.version, "their versions");
      }
    };
    await Promise.all([write(), read()]);
  });
}

function commitCases(on: DeclareEngineCase): void {
  on("keys.commit() gives a higher version than any before, whichever the key", async ({ keys }) => {
    const versions: bigint[] = [];
    for (const key of ["a", "b", "a", "c", "b"]) versions.push(await commitWrites(keys, set(key)));
    versions.push(await commitWrites(keys, { type: "delete", key: "a" }));
    versions.push(await commitWrites(keys, set("a")));
    ok((versions[0] ?? 0n) > 0n, "the first version is above 0");
    for (const [i, version] of versions.entries()) {
      if (i > 0) ok(version > (versions[i - 1] ?? 0n), `${version} comes after ${versions[i - 1]}`);
    }
  });

  on("keys.commit() gives all that it writes one version", async ({ keys }) => {
    const version = await commitWrites(keys, ...Array.from({ length: 100 }, (_, i) => set(`k${i}`)));
    for (const { version: found } of await collect(keys.list("k"))) equal(found, version);
  });

  on("keys.commit() of racing writers gives each a version of its own", async ({ keys }) => {
    const keysOf = Array.from({ length: 32 }, (_, i) => `k${i % 4}`);
    const versions = await Promise.all(keysOf.map((key) => commitWrites(keys, set(key))));
    equal(new Set(versions).size, versions.length);
  });

  on(
    "keys.commit() of a delete makes the key missing, and one that is missing stays so",
    async ({ keys }) => {
      await commitWrites(keys, set("k"));
      await commitWrites(keys, { type: "delete", key: "k" });
      equal(await keys.get("k"), undefined);
      await commitWrites(keys, { type: "delete", key: "k" });
      equal(await keys.get("k"), undefined);
    },
  );

  on("keys.commit() replaces the whole value", async ({ keys }) => {
    await commitWrites(keys, set("k", "a long value"));
    await commitWrites(keys, set("k", "short"));
    equal((await keys.get("k"))?.value, utf8("short"));
  });
}

function versionConditionCases(on: DeclareEngineCase): void {
  on("keys.commit() over the version that is there writes", async ({ keys }) => {
    const ifVersion = await commitWrites(keys, set("k", "1"));
    const version = await commitWrites(keys, set("k", "2", { ifVersion }));
    equal(await keys.get("k"), { key: "k", value: utf8("2"), version });
    await commitWrites(keys, { type: "delete", key: "k", ifVersion: version });
    equal(await keys.get("k"), undefined);
  });

  on("keys.commit() over another version changes nothing and tells what is there", async ({ keys }) => {
    const stale = await commitWrites(keys, set("k", "1"));
    await commitWrites(keys, set("k", "2"));
    const actual = await keys.get("k");
    const write = set("k", "3", { ifVersion: stale });
    equal(await expectConflict(keys, set("other"), write, set("third")), { conflict: write, actual });
    const remove = { type: "delete", key: "k", ifVersion: stale } as const;
    equal(await expectConflict(keys, remove), { conflict: remove, actual });
    equal(await keys.getMany(["k", "other", "third"]), [actual, undefined, undefined]);
  });

  on("keys.commit() over a version of a missing key is refused", async ({ keys }) => {
    const ifVersion = await commitWrites(keys, set("k"), set("stays"));
    await commitWrites(keys, { type: "delete", key: "k" });
    const write = set("k", "again", { ifVersion });
    equal(await expectConflict(keys, write), { conflict: write, actual: undefined });
    equal(await keys.get("k"), undefined);
  });

  on("keys.commit() tells the first of several writes that could not be", async ({ keys }) => {
    await commitWrites(keys, set("a"), set("b"));
    const a = set("a", "new", { ifVersion: 0n });
    const b = set("b", "new", { ifVersion: 0n });
    equal((await expectConflict(keys, set("c"), b, a)).conflict, b);
  });
}

function absentConditionCases(on: DeclareEngineCase): void {
  on("keys.commit() with ifVersion 0n writes where the key is absent, and only there", async ({ keys }) => {
    const version = await commitWrites(keys, set("k", "first", { ifVersion: 0n }));
    const { actual } = await expectConflict(keys, set("k", "second", { ifVersion: 0n }));
    equal(actual, { key: "k", value: utf8("first"), version });
    await commitWrites(keys, { type: "delete", key: "k" });
    await commitWrites(keys, set("k", "third", { ifVersion: 0n }));
  });

  on("keys.commit() with ifVersion 0n lets one of many racing writers win", async ({ keys }) => {
    const write = (i: number) => keys.commit([set("k", `${i}`, { ifVersion: 0n })]);
    const commits = await Promise.all(Array.from({ length: 16 }, (_, i) => write(i)));
    const winners = commits.flatMap((commit, i) => ("version" in commit ? [i] : []));
    equal(winners.length, 1);
    equal((await keys.get("k"))?.value, utf8(`${winners[0]}`));
  });

  on("keys.commit() over the version that was read loses no update of racing writers", async ({ keys }) => {
    const add = async () => {
      while (true) {
        const entry = await keys.get("n");
        const longer = "x".repeat((entry?.value.length ?? 0) + 1);
        const commit = await keys.commit([set("n", longer, { ifVersion: entry?.version ?? 0n })]);
        if ("version" in commit) return;
      }
    };
    await Promise.all(Array.from({ length: 16 }, add));
    equal((await keys.get("n"))?.value.length, 16);
  });
}

function checkCases(on: DeclareEngineCase): void {
  on("keys.commit() with a check that holds writes the rest and leaves the checked key", async ({ keys }) => {
    const ifVersion = await commitWrites(keys, set("k", "checked"));
    await commitWrites(
      keys,
      { type: "check", key: "k", ifVersion },
      { type: "check", key: "absent", ifVersion: 0n },
      set("other"),
    );
    equal(await keys.get("k"), { key: "k", value: utf8("checked"), version: ifVersion });
    equal(await keys.get("absent"), undefined);
    ok(await keys.get("other"), "the rest is written");
  });

  on("keys.commit() with a check that fails changes nothing", async ({ keys }) => {
    const ifVersion = await commitWrites(keys, set("k"));
    await commitWrites(keys, set("k", "newer"));
    const stale = { type: "check", key: "k", ifVersion } as const;
    const absent = { type: "check", key: "k", ifVersion: 0n } as const;
    const present = { type: "check", key: "absent", ifVersion } as const;
    const actual = await keys.get("k");
    equal(await expectConflict(keys, set("other"), stale), { conflict: stale, actual });
    equal(await expectConflict(keys, set("other"), absent), { conflict: absent, actual });
    equal(await expectConflict(keys, set("other"), present), { conflict: present, actual: undefined });
    equal(await keys.get("other"), undefined);
  });
}

function keyExpiryCases(on: DeclareEngineCase): void {
  on("keys.commit() with ttlMs tells when the entry expires", async ({ keys }) => {
    const beforeMs = Date.now();
    await commitWrites(keys, set("k", "v", { ttlMs: 60_000 }));
    const tookMs = Date.now() - beforeMs;
    const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
    const lateMs = expiresAtMs - beforeMs - 60_000;
    // Its clock may be another one: a tenth of a second is what may lie between the two.
    ok(lateMs > -100 && lateMs < tookMs + 100, `${expiresAtMs} is 60 s from ${beforeMs}`);
  });

  on("keys.get(), getMany() and list() miss an entry from its expiry on", async ({ keys }) => {
    await commitWrites(keys, set("k", "v", { ttlMs: 40 }), set("k2", "stays"));
    const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
    blockUntil(expiresAtMs);
    // The list first: the others may clear away what they do not find.
    const listing = collect(keys.list("k"));
    const [got, many] = await Promise.all([keys.get("k"), keys.getMany(["k", "k2"])]);
    equal([got, many[0], many[1]?.key], [undefined, undefined, "k2"]);
    equal(
      (await listing).map(({ key }) => key),
      ["k2"],
    );
  });

  on("keys.commit() takes an expired key for an absent one", async ({ keys }) => {
    const ifVersion = await commitWrites(keys, set("k", "v", { ttlMs: 30 }));
    blockUntil(((await keys.get("k"))?.expiresAtMs ?? 0) + 1);
    equal((await expectConflict(keys, set("k", "late", { ifVersion }))).actual, undefined);
    const version = await commitWrites(keys, set("k", "new", { ifVersion: 0n, ttlMs: "keep" }));
    ok(version > ifVersion, "the version goes on");
    equal(await keys.get("k"), { key: "k", value: utf8("new"), version });
  });
}

function keyTtlCases(on: DeclareEngineCase): void {
  on("keys.commit() without ttlMs ends the expiry that was there", async ({ keys }) => {
    await commitWrites(keys, set("k", "v", { ttlMs: 40 }));
    const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
    await commitWrites(keys, set("k", "stays"));
    equal((await keys.get("k"))?.expiresAtMs, undefined);
    await waitUntilAfter(expiresAtMs + 10);
    equal((await keys.get("k"))?.value, utf8("stays"));
  });

  on('keys.commit() with ttlMs "keep" leaves what is left of the lifetime', async ({ keys }) => {
    await commitWrites(keys, set("k", "1", { ttlMs: 50 }), set("forever"));
    const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
    await commitWrites(keys, set("k", "2", { ttlMs: "keep" }), set("forever", "2", { ttlMs: "keep" }));
    const kept = await keys.get("k");
    equal([kept?.value, kept?.expiresAtMs], [utf8("2"), expiresAtMs]);
    equal((await keys.get("forever"))?.expiresAtMs, undefined);
    await waitUntilAfter(expiresAtMs);
    equal(await keys.get("k"), undefined);
    ok(await keys.get("forever"), "no lifetime is kept as none");
  });

  on("keys.commit() with a longer ttlMs outlives the shorter one before it", async ({ keys }) => {
    await commitWrites(keys, set("k", "v", { ttlMs: 30 }));
    const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
    await commitWrites(keys, set("k", "v", { ttlMs: 60_000 }));
    await waitUntilAfter(expiresAtMs + 10);
    ok(await keys.get("k"), "the entry is there after its first expiry");
  });

  on("keys.commit() with a shorter ttlMs does not live as long as the one before it", async ({ keys }) => {
    await commitWrites(keys, set("k", "v", { ttlMs: 60_000 }));
    await commitWrites(keys, set("k", "v", { ttlMs: 30 }));
    await waitUntilAfter((await keys.get("k"))?.expiresAtMs ?? 0);
    equal(await keys.get("k"), undefined);
  });

  on("keys.commit() with a check leaves the lifetime", async ({ keys }) => {
    const ifVersion = await commitWrites(keys, set("k", "v", { ttlMs: 60_000 }));
    const before = await keys.get("k");
    await commitWrites(keys, { type: "check", key: "k", ifVersion });
    equal(await keys.get("k"), before);
  });
}

function keyListCases(on: DeclareEngineCase): void {
  on("keys.list() is in the byte order of the keys' UTF-8", async ({ keys }) => {
    for (const name of [...ORDERED_NAMES].reverse()) await commitWrites(keys, set(`p${name}`));
    equal(
      (await collect(keys.list("p"))).map(({ key }) => key),
      ORDERED_NAMES.map((name) => `p${name}`),
    );
  });

  on("keys.list() gives whole entries, those under the prefix only", async ({ keys }) => {
    const version = await commitWrites(keys, set("a"), set("pa"), set("p", "v"), set("q"), set("P"));
    const found = await collect(keys.list("p"));
    equal(found, [
      { key: "p", value: utf8("v"), version },
      { key: "pa", value: utf8("pa"), version },
    ]);
    equal((await collect(keys.list(""))).length, 5);
    equal(await collect(keys.list("none")), []);
  });

  on("keys.list() tells when entries expire", async ({ keys }) => {
    await commitWrites(keys, set("k", "v", { ttlMs: 60_000 }));
    equal(await collect(keys.list("k")), [await keys.get("k")]);
  });
}

function keyListPageCases(on: DeclareEngineCase): void {
  on("keys.list() goes on after a key, whether that is there or not", async ({ keys }) => {
    await commitWrites(keys, set("o"), set("p"), set("pa"), set("pc"), set("p😀"), set("q"));
    const after = async (key: string) => (await collect(keys.list("p", key))).map((entry) => entry.key);
    equal(await after("pa"), ["pc", "p😀"], "after one that is there");
    equal(await after("pb"), ["pc", "p😀"], "after one that is missing");
    equal(await after("p"), ["pa", "pc", "p😀"], "after the prefix itself");
    equal(await after("p\uffff"), ["p😀"], "after one that only UTF-16 puts behind");
    equal(await after("p😀"), [], "after the last one");
    equal(await after("o"), ["p", "pa", "pc", "p😀"], "after one in front of the prefix");
    equal(await after(""), ["p", "pa", "pc", "p😀"], "after nothing");
    equal(await after("q"), [], "after one behind the prefix");
    equal(await after("r"), [], "after one behind everything");
  });

  on("keys.list() gives every one of many keys, once", async ({ keys }) => {
    const names = Array.from({ length: 2500 }, (_, i) => `k${String(i).padStart(4, "0")}`);
    for (let i = 0; i < names.length; i += 500) {
      await commitWrites(keys, ...names.slice(i, i + 500).map((name) => set(name)));
    }
    equal(
      (await collect(keys.list("k"))).map(({ key }) => key),
      names,
    );
  });

  on("keys.list() gives what stays where it is once, whatever is written meanwhile", async ({ keys }) => {
    const names = Array.from({ length: 600 }, (_, i) => `k${String(i).padStart(4, "0")}`);
    await commitWrites(keys, ...names.map((name) => set(name)));
    const stays = (_: unknown, i: number) => i % 3 === 0;
    const seen: string[] = [];
    for await (const { key } of keys.list("k")) {
      seen.push(key);
      if (seen.length !== 10) continue;
      const goes = names.filter((name, i) => !stays(name, i));
      await commitWrites(keys, ...goes.map((name) => ({ type: "delete", key: name }) as const));
      await commitWrites(keys, set("k"), set("k0300x"), set("l"));
    }
    const stayed = names.filter(stays);
    equal(
      seen.filter((key) => stayed.includes(key)),
      stayed,
    );
    equal(new Set(seen).size, seen.length);
    equal([...seen].sort(), seen);
  });

  on("keys.list() may be left at any time", async ({ keys }) => {
    await commitWrites(keys, set("a"), set("b"));
    for await (const { key } of keys.list("")) {
      equal(key, "a");
      break;
    }
    equal((await collect(keys.list(""))).length, 2);
  });
}
