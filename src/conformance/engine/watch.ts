import { utf8 } from "../../lib/utf8.js";
import { sleep } from "../../rpc/sleep.js";
import type { Change } from "../../server/engine.js";
import type { DeclareEngineCase } from "../engine.js";
import { equal, ok } from "../expect.js";
import { collect, reader } from "./reader.js";
import { LATE_MS, neverAborts, waitUntilAfter } from "./timing.js";
import { commitWrites, expectConflict, set } from "./writes.js";

const keyOf = (change: Change) => (change.type === "set" ? change.entry.key : change.key);

/** Cases of keys.watch(). */
export function engineWatchCases(on: DeclareEngineCase): void {
  watchChangeCases(on);
  watchExpiryCases(on);
  watchReaderCases(on);
  watchEndCases(on);
}

function watchChangeCases(on: DeclareEngineCase): void {
  on("keys.watch() tells of each change from the call on, not from the first read", async ({ keys }) => {
    await commitWrites(keys, set("k", "before"));
    const changes = reader(keys.watch("k", neverAborts()));
    const first = await commitWrites(keys, set("k", "1"));
    const second = await commitWrites(keys, set("k", "2"));
    await commitWrites(keys, { type: "delete", key: "k" });
    equal(await changes.take(3), [
      { type: "set", entry: { key: "k", value: utf8("1"), version: first } },
      { type: "set", entry: { key: "k", value: utf8("2"), version: second } },
      { type: "delete", key: "k" },
    ]);
    await changes.quiet();
  });

  on("keys.watch() tells a reader that waits", async ({ keys }) => {
    const changes = reader(keys.watch("k", neverAborts()));
    await changes.quiet(5);
    for (const value of ["1", "2", "3"]) {
      const change = changes.next();
      const version = await commitWrites(keys, set("k", value));
      equal(await change, { type: "set", entry: { key: "k", value: utf8(value), version } });
    }
  });

  on("keys.watch() tells of what is under the prefix only", async ({ keys }) => {
    const changes = reader(keys.watch("p", neverAborts()));
    const one = reader(keys.watch("pa", neverAborts()));
    const every = reader(keys.watch("", neverAborts()));
    await commitWrites(keys, set("o"));
    await commitWrites(keys, set("p"));
    await commitWrites(keys, set("P"));
    await commitWrites(keys, set("pa"));
    equal((await changes.take(2)).map(keyOf), ["p", "pa"]);
    equal((await one.take(1)).map(keyOf), ["pa"]);
    equal((await every.take(4)).map(keyOf), ["o", "p", "P", "pa"]);
    await changes.quiet();
    await one.quiet(0);
  });

  on("keys.watch() tells of every write of a commit", async ({ keys }) => {
    await commitWrites(keys, set("gone"));
    const changes = reader(keys.watch("", neverAborts()));
    await commitWrites(keys, set("a"), { type: "delete", key: "gone" }, set("b"));
    equal((await changes.take(3)).map(keyOf).sort(), ["a", "b", "gone"]);
  });
}

function watchExpiryCases(on: DeclareEngineCase): void {
  on("keys.watch() tells of expiry, on time", async ({ keys }, { shortMs }) => {
    const changes = reader(keys.watch("k", neverAborts()));
    await commitWrites(keys, set("k", "v", { ttlMs: shortMs }));
    const written = await changes.next();
    const { expiresAtMs = 0 } = written.type === "set" ? written.entry : {};
    equal(await changes.next(), { type: "delete", key: "k" });
    const lateMs = Date.now() - expiresAtMs;
    ok(lateMs > -LATE_MS && lateMs < LATE_MS, `${lateMs} ms after the expiry`);
    equal(await keys.get("k"), undefined);
  });

  on("keys.watch() tells the expiries of several keys in their order", async ({ keys }, { shortMs }) => {
    const changes = reader(keys.watch("k", neverAborts()));
    await commitWrites(
      keys,
      set("k3", "v", { ttlMs: 3 * shortMs }),
      set("k1", "v", { ttlMs: shortMs }),
      set("k2", "v", { ttlMs: 2 * shortMs }),
    );
    await changes.take(3);
    equal((await changes.take(3)).map(keyOf), ["k1", "k2", "k3"]);
  });

  on(
    "keys.watch() does not tell of an expiry that did not come about",
    async ({ clock, keys }, { shortMs }) => {
      await commitWrites(keys, set("k", "v", { ttlMs: shortMs }), set("k2", "v", { ttlMs: shortMs }));
      const { expiresAtMs = 0 } = (await keys.get("k")) ?? {};
      const changes = reader(keys.watch("k", neverAborts()));
      await commitWrites(keys, set("k", "stays"), { type: "delete", key: "k2" });
      await changes.take(2);
      await waitUntilAfter(expiresAtMs + shortMs / 2, clock);
      await changes.quiet();
    },
  );
}

function watchReaderCases(on: DeclareEngineCase): void {
  on("keys.watch() does not tell of a commit that changes nothing", async ({ keys }) => {
    const ifVersion = await commitWrites(keys, set("k"));
    const changes = reader(keys.watch("", neverAborts()));
    await expectConflict(keys, set("other"), set("k", "v", { ifVersion: 0n }));
    await commitWrites(keys, { type: "check", key: "k", ifVersion });
    await commitWrites(keys, { type: "delete", key: "missing" });
    await changes.quiet();
  });

  on("keys.watch() tells a reader that falls behind the last change of each key", async ({ keys }) => {
    const changes = reader(keys.watch("", neverAborts()));
    const last = new Map<string, bigint>();
    for (let i = 0; i < 1500; i++) {
      // Some keys are written only at the beginning, so that their last change is old.
      const key = `k${i % (i < 600 ? 7 : 4)}`;
      last.set(key, await commitWrites(keys, set(key, `${i}`)));
    }
    await commitWrites(keys, { type: "delete", key: "k0" });
    await commitWrites(keys, set("end"));
    const latest = new Map<string, Change>();
    let version = 0n;
    for (let change = await changes.next(); keyOf(change) !== "end"; change = await changes.next()) {
      latest.set(keyOf(change), change);
      if (change.type !== "set") continue;
      ok(change.entry.version > version, "versions grow");
      version = change.entry.version;
    }
    equal(latest.get("k0"), { type: "delete", key: "k0" });
    for (let i = 1; i < 7; i++) {
      const change = latest.get(`k${i}`);
      equal(change?.type === "set" && change.entry.version, last.get(`k${i}`));
    }
  });

  on("keys.watch() of several watchers tells each, whoever leaves", async ({ keys }) => {
    const stop = new AbortController();
    const [aborts, leaves, stays] = [stop.signal, neverAborts(), neverAborts()].map((signal) =>
      reader(keys.watch("k", signal)),
    );
    ok(aborts && leaves && stays, "three watchers");
    await commitWrites(keys, set("k1"));
    for (const watcher of [aborts, leaves, stays]) equal(keyOf(await watcher.next()), "k1");
    stop.abort();
    await leaves.leave();
    await commitWrites(keys, set("k2"));
    equal(keyOf(await stays.next()), "k2");
    await aborts.end();
    await leaves.end();
  });
}

function watchEndCases(on: DeclareEngineCase): void {
  on("keys.watch() ends when its signal aborts, while it waits and before it is read", async ({ keys }) => {
    const stop = new AbortController();
    const waits = reader(keys.watch("k", stop.signal));
    const unread = keys.watch("k", stop.signal);
    await waits.quiet(5);
    const end = waits.end();
    stop.abort();
    await end;
    await commitWrites(keys, set("k"));
    equal(await collect(unread), []);
  });

  on("keys.watch() with a signal that has aborted ends at once", async ({ keys }) => {
    const changes = keys.watch("k", AbortSignal.abort());
    await commitWrites(keys, set("k"));
    equal(await collect(changes), []);
  });

  on("keys.watch() ends between two changes when its signal aborts", async ({ keys }) => {
    const stop = new AbortController();
    const changes = reader(keys.watch("k", stop.signal));
    await commitWrites(keys, set("k"));
    await commitWrites(keys, set("k"));
    await changes.next();
    stop.abort();
    await sleep(0);
    await changes.end();
  });
}
