import { utf8 } from "../../../lib/utf8.js";
import type { DeclareEngineCase } from "../../engine.js";
import { equal } from "../../expect.js";
import { ORDERED_NAMES } from "../../test-data.js";
import { collect } from "../reader.js";
import { commitWrites, set } from "../writes.js";

export function keyListCases(on: DeclareEngineCase): void {
  on("keys.list() is in the byte order of the keys' UTF-8", async ({ keys }) => {
    for (const name of [...ORDERED_NAMES].reverse()) await commitWrites(keys, set(`p${name}`));
    equal(
      (await collect(keys.list("p"))).map(({ key }) => key),
      ORDERED_NAMES.map((name) => `p${name}`),
    );
  });

  on("keys.list() gives whole entries, those under the prefix only", async ({ keys }) => {
    const version = await commitWrites(keys, set("a"), set("pa"), set("p", "v"), set("q"), set("P"));
    const entries = await collect(keys.list("p"));
    equal(entries, [
      { key: "p", value: utf8("v"), version },
      { key: "pa", value: utf8("pa"), version },
    ]);
    equal((await collect(keys.list(""))).length, 5);
    equal(await collect(keys.list("none")), []);
  });

  on("keys.list() tells when entries expire", async ({ keys }) => {
    await commitWrites(keys, set("k", "v", { ttlMs: 60000 }));
    equal(await collect(keys.list("k")), [await keys.get("k")]);
  });
}

export function keyListPageCases(on: DeclareEngineCase): void {
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
