import { utf8 } from "../../../lib/utf8.js";
import type { DeclareEngineCase } from "../../engine.js";
import { equal, ok } from "../../expect.js";
import { collect } from "../reader.js";
import { blockUntil, waitUntilAfter } from "../timing.js";
import { commitWrites, expectConflict, set } from "../writes.js";

export function keyExpiryCases(on: DeclareEngineCase): void {
  on("keys.commit() with ttlMs tells when the entry expires", async ({ keys }) => {
    const beforeMs = Date.now();
    await commitWrites(keys, set("k", "v", { ttlMs: 60000 }));
    const tookMs = Date.now() - beforeMs;
    const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
    const lateMs = expiresAtMs - beforeMs - 60000;
    // The engine may have another clock. The two may differ by a tenth of a second.
    ok(lateMs > -100 && lateMs < tookMs + 100, `${expiresAtMs} is 60 s from ${beforeMs}`);
  });

  on(
    "keys.get(), getMany() and list() miss an entry from its expiry on",
    async ({ clock, keys }, { shortMs }) => {
      await commitWrites(keys, set("k", "v", { ttlMs: shortMs }), set("k2", "stays"));
      const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
      blockUntil(expiresAtMs, clock);
      // List first: the other calls may remove the expired entry.
      const listing = collect(keys.list("k"));
      const [got, many] = await Promise.all([keys.get("k"), keys.getMany(["k", "k2"])]);
      equal([got, many[0], many[1]?.key], [undefined, undefined, "k2"]);
      equal(
        (await listing).map(({ key }) => key),
        ["k2"],
      );
    },
  );

  on("keys.commit() takes an expired key for an absent one", async ({ clock, keys }, { shortMs }) => {
    const ifVersion = await commitWrites(keys, set("k", "v", { ttlMs: shortMs }));
    blockUntil(((await keys.get("k"))?.expiresAtMs ?? 0) + 1, clock);
    equal((await expectConflict(keys, set("k", "late", { ifVersion }))).actual, undefined);
    const version = await commitWrites(keys, set("k", "new", { ifVersion: 0n, ttlMs: "keep" }));
    ok(version > ifVersion, "the version goes on");
    equal(await keys.get("k"), { key: "k", value: utf8("new"), version });
  });
}

export function keyTtlCases(on: DeclareEngineCase): void {
  on("keys.commit() without ttlMs ends the expiry that was there", async ({ clock, keys }, { shortMs }) => {
    await commitWrites(keys, set("k", "v", { ttlMs: shortMs }));
    const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
    await commitWrites(keys, set("k", "stays"));
    equal((await keys.get("k"))?.expiresAtMs, undefined);
    await waitUntilAfter(expiresAtMs + shortMs / 4, clock);
    equal((await keys.get("k"))?.value, utf8("stays"));
  });

  on('keys.commit() with ttlMs "keep" keeps the remaining lifetime', async ({ clock, keys }, { shortMs }) => {
    await commitWrites(keys, set("k", "1", { ttlMs: shortMs }), set("forever"));
    const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
    await commitWrites(keys, set("k", "2", { ttlMs: "keep" }), set("forever", "2", { ttlMs: "keep" }));
    const kept = await keys.get("k");
    equal([kept?.value, kept?.expiresAtMs], [utf8("2"), expiresAtMs]);
    equal((await keys.get("forever"))?.expiresAtMs, undefined);
    await waitUntilAfter(expiresAtMs, clock);
    equal(await keys.get("k"), undefined);
    ok(await keys.get("forever"), "no lifetime is kept as none");
  });

  on(
    "keys.commit() with a longer ttlMs outlives the shorter one before it",
    async ({ clock, keys }, { shortMs }) => {
      await commitWrites(keys, set("k", "v", { ttlMs: shortMs }));
      const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
      await commitWrites(keys, set("k", "v", { ttlMs: 60000 }));
      await waitUntilAfter(expiresAtMs + shortMs / 4, clock);
      ok(await keys.get("k"), "the entry is there after its first expiry");
    },
  );

  on(
    "keys.commit() with a shorter ttlMs does not live as long as the one before it",
    async ({ clock, keys }, { shortMs }) => {
      await commitWrites(keys, set("k", "v", { ttlMs: 60000 }));
      await commitWrites(keys, set("k", "v", { ttlMs: shortMs }));
      await waitUntilAfter((await keys.get("k"))?.expiresAtMs ?? 0, clock);
      equal(await keys.get("k"), undefined);
    },
  );

  on("keys.commit() with a check leaves the lifetime", async ({ keys }) => {
    const ifVersion = await commitWrites(keys, set("k", "v", { ttlMs: 60000 }));
    const before = await keys.get("k");
    await commitWrites(keys, { type: "check", key: "k", ifVersion });
    equal(await keys.get("k"), before);
  });
}
