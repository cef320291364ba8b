import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { expectLimit } from "../expect-refusal.js";
import { LIMIT, MAX_VALUE_BYTES } from "../rules.js";
import { patternBytes } from "../test-data.js";
import { NO_CONDITION, type StateCalls } from "./calls.js";

/** Cases of keys, values, missing keys and consistency. */
export function stateEntryCases(on: DeclareCase<StateCalls>): void {
  keyCases(on);
  valueCases(on);
  missingKeyCases(on);
  consistencyCases(on);
}

function keyCases(on: DeclareCase<StateCalls>): void {
  on("keys", "keys are opaque UTF-8: no two that differ are the same, and none is rewritten", async (at) => {
    const names = ["a||b", "A", "a", " a ", "ä", "a\u0308", "\u0000\n", "🔑", "../a", "%61", "a|||b"];
    for (const name of names) await at.save(name, `of ${name}`);
    const items = await at.bulk(names);
    equal(
      items.map(({ key, data }) => [key, fromUtf8(data)]),
      names.map((name) => [at.key(name), `of ${name}`]),
    );
  });

  on("keys", "a key may contain ||", async (at) => {
    await at.save("a||b", "1");
    equal(await at.text("a||b"), "1");
    equal(await at.etag("b"), "");
  });

  on("keys", "a key may have 1024 bytes of UTF-8", async (at) => {
    const name = `${"k".repeat(1020 - at.own("").length)}🔑`;
    await at.save(name, "1");
    equal(await at.text(name), "1");
    equal(await at.etag(name.slice(0, -2)), "", "what begins alike");
  });

  on(
    LIMIT,
    "a key of 1025 bytes is resource_exhausted, naming keyBytes, also where it has fewer characters",
    async (at) => {
      for (const key of ["k".repeat(1025), `k${"é".repeat(512)}`, `k${"🔑".repeat(256)}`]) {
        await expectLimit(at.runtime.getState({ storeName: at.storeName, key }), "keyBytes");
        await expectLimit(at.runtime.saveState({ storeName: at.storeName, states: [{ key }] }), "keyBytes");
        await expectLimit(at.runtime.deleteState({ storeName: at.storeName, key }), "keyBytes");
        await expectLimit(at.runtime.getBulkState({ storeName: at.storeName, keys: ["a", key] }), "keyBytes");
      }
    },
  );
}

function valueCases(on: DeclareCase<StateCalls>): void {
  on("keys", "a value comes back byte by byte", async (at) => {
    const value = Uint8Array.from({ length: 256 }, (_, i) => i);
    await at.save("k", value);
    const { data } = await at.runtime.getState({ storeName: at.storeName, key: at.key("k") });
    equal(data, value);
  });

  on("keys", "a value may have 1 MiB", async (at) => {
    const value = patternBytes(1024 ** 2);
    await at.save("k", value);
    equal((await at.bulk(["k"]))[0]?.data, value);
  });

  on(["keys", "extensions"], "a value may have 4 MiB less 16 KiB", async (at) => {
    const value = patternBytes(MAX_VALUE_BYTES);
    await at.save("k", value);
    const { data } = await at.runtime.getState({ storeName: at.storeName, key: at.key("k") });
    equal(data, value);
  });

  on(
    [LIMIT, "extensions"],
    "a value above the limit is resource_exhausted, naming valueBytes, and stores nothing",
    async (at) => {
      await expectLimit(at.save("k", new Uint8Array(MAX_VALUE_BYTES + 1)), "valueBytes");
      equal(await at.etag("k"), "");
    },
  );

  on("keys", "a write replaces the whole value", async (at) => {
    await at.save("k", "a long value");
    await at.save("k", "x");
    equal(await at.text("k"), "x");
  });

  on(
    ["keys", "other stores"],
    "stores are apart: the same key in another store is another entry",
    async (at) => {
      const other = at.stores.others?.state ?? "";
      await at.save("k", "here");
      const there = { storeName: other, key: at.key("k") };
      equal((await at.runtime.getState(there)).etag, "");
      at.after(() => at.runtime.deleteState({ ...there, ...NO_CONDITION }));
      await at.runtime.saveState({ storeName: other, states: [{ key: there.key, value: utf8("there") }] });
      equal(await at.text("k"), "here");
      await at.delete("k");
      equal(fromUtf8((await at.runtime.getState(there)).data), "there");
    },
  );
}

function missingKeyCases(on: DeclareCase<StateCalls>): void {
  on(
    "GetState of a missing key",
    "GetState of a missing key is OK, with empty data and an empty etag",
    async (at) => {
      equal(await at.get("k"), { text: "", etag: "", metadata: {} });
    },
  );

  on("GetState of a missing key", "a stored empty value has an etag", async (at) => {
    await at.save("k", "");
    const { text, etag } = await at.get("k");
    equal(text, "");
    ok(etag !== "", "there is an etag");
    equal((await at.bulk(["k"]))[0]?.etag, etag, "the etag in GetBulkState");
  });

  on("GetState of a missing key", "a deleted key is missing", async (at) => {
    await at.save("k", "v");
    await at.delete("k");
    equal(await at.get("k"), { text: "", etag: "", metadata: {} });
  });

  on("GetState of a missing key", "reading a key does not bring it into being", async (at) => {
    await at.get("k");
    await at.bulk(["k"]);
    await at.save("k", "v", { options: { concurrency: 1 } });
    equal(await at.text("k"), "v");
  });
}

function consistencyCases(on: DeclareCase<StateCalls>): void {
  on("consistency", "STRONG, EVENTUAL and unspecified read the latest committed write", async (at) => {
    for (const value of ["1", "2", "3"]) {
      await at.save("k", value);
      for (const consistency of [0, 1, 2] as const) {
        const { data } = await at.runtime.getState({
          storeName: at.storeName,
          key: at.key("k"),
          consistency,
        });
        equal(fromUtf8(data), value, `consistency ${consistency}`);
      }
    }
  });

  on("consistency", "writes with each consistency are read at once", async (at) => {
    for (const consistency of [0, 1, 2] as const) {
      await at.save("k", `${consistency}`, { options: { consistency } });
      equal(await at.text("k"), `${consistency}`);
    }
  });

  on(
    ["consistency", "second client"],
    "a client reads with STRONG what another one has just written",
    async (at) => {
      const other = at.client(Runtime, await at.second());
      for (const value of ["1", "2", "3", "4"]) {
        await at.save("k", value);
        const { data } = await other.getState({ storeName: at.storeName, key: at.key("k"), consistency: 2 });
        equal(fromUtf8(data), value);
      }
    },
  );
}
