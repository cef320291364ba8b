import { utf8 } from "../../lib/utf8.js";
import type { DeclareEngineCase } from "../engine.js";
import { equal, ok } from "../expect.js";
import { DISTINCT_NAMES, patternBytes } from "../test-data.js";
import { absentConditionCases, checkCases, versionConditionCases } from "./keys/conditions.js";
import { keyExpiryCases, keyTtlCases } from "./keys/lifetimes.js";
import { keyListCases, keyListPageCases } from "./keys/lists.js";
import { collect } from "./reader.js";
import { commitWrites, set } from "./writes.js";

/** Cases of keys: reads, commits and their conditions, lifetimes, lists. */
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
