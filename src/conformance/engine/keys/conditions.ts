import { utf8 } from "../../../lib/utf8.js";
import type { DeclareEngineCase } from "../../engine.js";
import { equal, ok } from "../../expect.js";
import { commitWrites, expectConflict, set } from "../writes.js";

export function versionConditionCases(on: DeclareEngineCase): void {
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

export function absentConditionCases(on: DeclareEngineCase): void {
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

export function checkCases(on: DeclareEngineCase): void {
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
