import type { DeclareCase } from "../case.js";
import { equal } from "../expect.js";
import { expectMalformed, expectUnconfigured, UNKNOWN_NAMES } from "../expect-refusal.js";
import { REQUIRED, UNKNOWN } from "../rules.js";
import { type ConfigurationCalls, formatItem } from "./calls.js";

/** Cases of saving, reading and deleting items. */
export function configurationItemCases(on: DeclareCase<ConfigurationCalls>): void {
  itemIdentityCases(on);
  defaultGroupCases(on);
  itemContentCases(on);
  deletionCases(on);
  refusalCases(on);
}

function itemIdentityCases(on: DeclareCase<ConfigurationCalls>): void {
  on("configuration identity", "an item that was saved is read, with its group and label", async (at) => {
    await at.save({ k: "v" });
    const [item] = await at.items({ keys: ["k"] });
    equal([item?.key, item?.content, item?.group, item?.label], ["k", "v", at.group, "default"]);
  });

  on("configuration identity", "a later save replaces the content", async (at) => {
    await at.save({ k: "1" });
    await at.save({ k: "2" });
    equal(await at.get(), { k: "2" });
  });

  on(
    "configuration identity",
    "group, label and app id each make another item of the same key",
    async (at) => {
      const places = [
        {},
        { appId: at.own("app") },
        { group: at.own("other") },
        { label: "l" },
        { group: at.own("other"), label: "l" },
        { appId: at.own("app"), label: "l" },
      ];
      for (const [i, place] of places.entries()) await at.save({ k: String(i) }, place);
      for (const [i, place] of places.entries())
        equal(await at.get(place), { k: String(i) }, JSON.stringify(place));
    },
  );

  on(
    ["configuration identity", "other stores"],
    "the same item in another store is another one",
    async (at) => {
      const other = { storeName: at.stores.others?.configuration ?? "" };
      await at.save({ k: "here" });
      await at.save({ k: "there" }, other);
      equal([await at.get(), await at.get(other)], [{ k: "here" }, { k: "there" }]);
    },
  );
}

function defaultGroupCases(on: DeclareCase<ConfigurationCalls>): void {
  on("configuration identity", "a group or a label that is left out is default", async (at) => {
    const key = at.own("k");
    const items = [{ key, content: "v" }];
    at.after(() => at.runtime.deleteConfiguration({ storeName: at.storeName, keys: [key] }));
    await at.runtime.saveConfiguration({ storeName: at.storeName, items });
    equal(await at.get({ group: "default", label: "default", keys: [key] }), { [key]: "v" });
    const [item] = await at.items({ group: "", keys: [key] });
    equal([item?.group, item?.label], ["default", "default"]);
  });

  on("configuration identity", "without keys the whole group is read, and nothing of another", async (at) => {
    await at.save({ a: "1", b: "2" });
    await at.save({ c: "3" }, { label: "l" });
    await at.save({ d: "4" }, { group: at.own("other") });
    equal(await at.get(), { a: "1", b: "2" });
  });

  on("configuration identity", "a group that nothing is in has no items", async (at) => {
    equal(await at.items(), []);
    equal(await at.items({ keys: ["k"] }), []);
  });

  on("configuration identity", "keys are exact and may hold anything", async (at) => {
    const odd = { "a\u0000b": "1", "a||b": "2", ключ: "3", a: "4", ab: "5", "*": "6", "a/b": "7" };
    await at.save(odd);
    equal(await at.get(), odd);
    for (const key of ["a", "*"] as const) equal(await at.get({ keys: [key] }), { [key]: odd[key] });
  });
}

function itemContentCases(on: DeclareCase<ConfigurationCalls>): void {
  on(
    "configuration identity",
    "keys are answered in request order, once each, and those that are missing are left out",
    async (at) => {
      await at.save({ a: "1", b: "2" });
      const found = await at.items({ keys: ["b", "none", "a", "b"] });
      equal(found.map(formatItem), ["b: 2", "a: 1"]);
    },
  );

  on("configuration identity", "tags and metadata are kept with an item", async (at) => {
    await at.saveItems([{ key: "k", content: "v", tags: { t: "1" }, metadata: { m: "2" } }]);
    const [item] = await at.items({ keys: ["k"] });
    equal([{ ...item?.tags }, { ...item?.metadata }], [{ t: "1" }, { m: "2" }]);
  });

  on("configuration identity", "items of one save may go to several groups and labels", async (at) => {
    const group = at.own("other");
    await at.saveItems([
      { key: "k", content: "1" },
      { key: "k", content: "2", group },
      { key: "k", content: "3", label: "l" },
    ]);
    at.after(() => at.remove(["k"], { group }));
    at.after(() => at.remove(["k"], { label: "l" }));
    equal(
      [await at.get(), await at.get({ group }), await at.get({ label: "l" })],
      [{ k: "1" }, { k: "2" }, { k: "3" }],
    );
  });
}

function deletionCases(on: DeclareCase<ConfigurationCalls>): void {
  on("configuration identity", "SaveConfiguration with empty content deletes", async (at) => {
    await at.save({ a: "1", b: "1" });
    await at.save({ a: "", b: "2", c: "" });
    equal(await at.get(), { b: "2" });
  });

  on("configuration identity", "of a key that is twice in a save the last content stays", async (at) => {
    await at.saveItems([
      { key: "d", content: "" },
      { key: "d", content: "last" },
      { key: "b", content: "3" },
      { key: "b", content: "" },
    ]);
    equal(await at.get(), { d: "last" });
  });

  on(
    "configuration identity",
    "DeleteConfiguration deletes the keys that it names, and none that begin as they do",
    async (at) => {
      await at.save({ key1: "1", key10: "2", key: "3" });
      await at.remove(["key1", "missing", "key1"]);
      equal(await at.get(), { key: "3", key10: "2" });
    },
  );

  on("configuration identity", "DeleteConfiguration of no keys deletes nothing", async (at) => {
    await at.save({ a: "1" });
    await at.remove([]);
    equal(await at.get(), { a: "1" });
  });

  on("configuration identity", "DeleteConfiguration keeps to its group and label", async (at) => {
    await at.save({ k: "1" });
    await at.save({ k: "2" }, { label: "l" });
    await at.remove(["k"]);
    equal([await at.get(), await at.get({ label: "l" })], [{}, { k: "2" }]);
  });
}

function refusalCases(on: DeclareCase<ConfigurationCalls>): void {
  on(REQUIRED, "GetConfiguration names the field that is malformed", async (at) => {
    const { getConfiguration } = at.runtime;
    const { storeName } = at;
    await expectMalformed(getConfiguration({ storeName: "" }), "store_name");
    await expectMalformed(getConfiguration({ storeName, group: "a\u0000b" }), "group");
    await expectMalformed(getConfiguration({ storeName, label: "a\nb" }), "label");
    await expectMalformed(getConfiguration({ storeName, appId: "\u007f" }), "app_id");
    await expectMalformed(getConfiguration({ storeName, group: at.group, keys: ["a", ""] }), "keys[1]");
  });

  on(
    REQUIRED,
    "SaveConfiguration names the item that is malformed, and saves nothing of the batch",
    async (at) => {
      await expectMalformed(at.runtime.saveConfiguration({ storeName: at.storeName }), "items");
      await expectMalformed(at.save({ a: "1", "": "2" }), "items[1].key");
      await expectMalformed(
        at.saveItems([
          { key: "a", content: "1" },
          { key: "b", content: "1", group: "\u0000" },
        ]),
        "items[1].group",
      );
      equal(await at.get(), {});
    },
  );

  on(REQUIRED, "DeleteConfiguration names the key that is empty, and deletes nothing", async (at) => {
    await at.save({ a: "1" });
    await expectMalformed(at.remove(["a", ""]), "keys[1]");
    equal(await at.get(), { a: "1" });
  });

  on(UNKNOWN, "each RPC on a store that is not configured is invalid_argument, naming it", async (at) => {
    for (const storeName of UNKNOWN_NAMES) {
      const nope = { storeName, keys: ["k"] };
      const items = [{ key: "k", content: "1" }];
      const kind = "configuration store";
      await expectUnconfigured(at.runtime.getConfiguration(nope), kind, storeName);
      await expectUnconfigured(at.runtime.saveConfiguration({ storeName, items }), kind, storeName);
      await expectUnconfigured(at.runtime.deleteConfiguration(nope), kind, storeName);
    }
  });
}
