import { sleep } from "../../rpc/sleep.js";
import type { DeclareCase } from "../case.js";
import { equal } from "../expect.js";
import { expectMalformed, expectUnconfigured } from "../expect-refusal.js";
import { REQUIRED, UNKNOWN } from "../rules.js";
import type { ConfigurationCalls } from "./calls.js";
import { severalSubscriberCases, subscriptionEndCases } from "./subscribers.js";

/** Cases of SubscribeConfiguration. */
export function subscriptionCases(on: DeclareCase<ConfigurationCalls>): void {
  initialValueCases(on);
  changeCases(on);
  slowSubscriberCases(on);
  requestedKeyCases(on);
  severalGroupCases(on);
  subscriptionRefusalCases(on);
  subscriptionEndCases(on);
  severalSubscriberCases(on);
}

function initialValueCases(on: DeclareCase<ConfigurationCalls>): void {
  on(
    ["SubscribeConfiguration", "duplex"],
    "current values come first, then every change in order",
    async (at) => {
      await at.save({ a: "1", b: "1", c: "1" });
      const stream = at.follow({ keys: ["b", "a", "none"] });
      const first = await stream.next();
      equal(
        [first.storeName, first.items.map(({ key, content }) => `${key}: ${content}`)],
        [at.storeName, ["b: 1", "a: 1"]],
      );
      for (const content of ["2", "3", "4"]) await at.save({ a: content, c: content });
      for (const content of ["2", "3", "4"]) equal(await stream.items(), [`a: ${content}`]);
    },
  );

  on(
    ["SubscribeConfiguration", "duplex"],
    "no response comes without an item: a subscription to what is not there yet begins with the first change",
    async (at) => {
      const stream = at.follow({ keys: ["a"] }, {});
      const first = stream.items();
      // If the subscription begins a little later, the first response is the same.
      await sleep(50);
      await at.save({ b: "no", a: "1" });
      equal(await first, ["a: 1"]);
    },
  );

  on(
    ["SubscribeConfiguration", "duplex", "extensions"],
    "with fairlead-initial, a subscription to what is not there yet begins with no items",
    async (at) => {
      const stream = at.follow({ keys: ["a"] });
      equal(await stream.items(), []);
      await at.save({ b: "no", a: "1" });
      equal(await stream.items(), ["a: 1"]);
    },
  );
}

function changeCases(on: DeclareCase<ConfigurationCalls>): void {
  on(
    ["SubscribeConfiguration", "duplex"],
    'a deletion is the item with empty content and metadata deleted "true"',
    async (at) => {
      await at.save({ a: "1" });
      const stream = at.follow({});
      await stream.next();
      await at.remove(["a", "never there"]);
      const { items } = await stream.next();
      equal(
        items.map(({ key, content, group, label, metadata }) => [
          key,
          content,
          group,
          label,
          { ...metadata },
        ]),
        [["a", "", at.group, "default", { deleted: "true" }]],
      );
    },
  );

  on(["SubscribeConfiguration", "duplex"], "saving empty content is sent as a deletion", async (at) => {
    await at.save({ a: "1" });
    const stream = at.follow({});
    await stream.next();
    await at.save({ a: "" });
    equal(await stream.items(), ["a: deleted"]);
    await at.save({ a: "again" });
    equal(await stream.items(), ["a: again"]);
  });

  on(
    ["SubscribeConfiguration", "duplex"],
    "a change tells group, label and app id as they were asked for",
    async (at) => {
      const place = { appId: at.own("app"), label: "l" };
      const stream = at.follow(place);
      await stream.next();
      await at.save({ k: "v" }, place);
      const { appId, items } = await stream.next();
      equal([appId, items[0]?.group, items[0]?.label], [place.appId, at.group, "l"]);
    },
  );

  on(
    ["SubscribeConfiguration", "duplex"],
    "what is saved in another group or label is not sent",
    async (at) => {
      const stream = at.follow({});
      await stream.next();
      await at.save({ k: "1" }, { label: "l" });
      await at.save({ k: "2" }, { group: at.own("other") });
      await at.save({ k: "3" });
      equal(await stream.items(), ["k: 3"]);
    },
  );
}

function slowSubscriberCases(on: DeclareCase<ConfigurationCalls>): void {
  on(
    ["SubscribeConfiguration", "duplex"],
    "a subscriber that does not read receives the last content in the end, and delays no other",
    async (at) => {
      const stream = at.follow({});
      await stream.next();
      for (let n = 1; n <= 200; n++) await at.save({ k: String(n) });
      for (let last = ""; last !== "k: 200"; ) last = (await stream.items()).at(-1) ?? "";
      equal(await at.get(), { k: "200" });
    },
  );

  on(
    ["SubscribeConfiguration", "duplex"],
    "whatever is written while it begins, a subscriber ends with what is there",
    async (at) => {
      await at.save({ a: "0", b: "0" });
      const writing = (async () => {
        for (let i = 1; i <= 30; i++) await at.save({ a: i % 3 ? String(i) : "", b: String(i) });
        await at.save({ done: "yes" });
      })();
      const stream = at.follow({});
      const values = new Map<string, string>();
      while (!values.has("done")) {
        for (const { key, content } of (await stream.next()).items) {
          if (content === "") values.delete(key);
          else values.set(key, content);
        }
      }
      await writing;
      equal(Object.fromEntries([...values].sort()), await at.get());
    },
  );
}

function requestedKeyCases(on: DeclareCase<ConfigurationCalls>): void {
  on(
    ["SubscribeConfiguration", "duplex"],
    "each request adds keys, whose current values are sent",
    async (at) => {
      await at.save({ a: "1", b: "1" });
      const stream = at.follow({ keys: ["a"] });
      equal(await stream.items(), ["a: 1"]);
      await at.save({ b: "not yet" });
      stream.ask({ keys: ["b"] });
      equal(await stream.items(), ["b: not yet"]);
      await at.save({ a: "2" });
      equal(await stream.items(), ["a: 2"]);
      await at.save({ b: "2" });
      equal(await stream.items(), ["b: 2"]);
    },
  );

  on(["SubscribeConfiguration", "duplex"], "a request without keys follows the whole group", async (at) => {
    await at.save({ a: "1" });
    const stream = at.follow({});
    equal(await stream.items(), ["a: 1"]);
    await at.save({ fresh: "1" });
    equal(await stream.items(), ["fresh: 1"]);
  });
}

function severalGroupCases(on: DeclareCase<ConfigurationCalls>): void {
  on(["SubscribeConfiguration", "duplex"], "one stream may follow several groups", async (at) => {
    const other = { group: at.own("other"), label: "l" };
    const stream = at.follow({});
    await stream.next();
    stream.ask(other);
    await stream.next();
    await at.save({ k: "1" }, other);
    const first = await stream.next();
    equal([first.items[0]?.group, first.items[0]?.content], [other.group, "1"]);
    await at.save({ k: "2" });
    const second = await stream.next();
    equal([second.items[0]?.group, second.items[0]?.content], [at.group, "2"]);
  });

  on(
    ["SubscribeConfiguration", "duplex", "other stores"],
    "one stream may follow several stores, each named in its answers",
    async (at) => {
      const other = { storeName: at.stores.others?.configuration ?? "" };
      const stream = at.follow({});
      await stream.next();
      stream.ask(other);
      equal((await stream.next()).storeName, other.storeName);
      await at.save({ k: "1" }, other);
      equal((await stream.next()).storeName, other.storeName);
      await at.save({ k: "2" });
      equal((await stream.next()).storeName, at.storeName);
    },
  );
}

function subscriptionRefusalCases(on: DeclareCase<ConfigurationCalls>): void {
  on([REQUIRED, "duplex"], "a malformed request ends the stream, and names the field", async (at) => {
    await expectMalformed(at.follow({ keys: [""] }).next(), "keys[0]");
    await expectMalformed(at.follow({ group: "\u0000" }).next(), "group");
    await expectMalformed(at.follow({ storeName: "" }).next(), "store_name");
  });

  on(
    [UNKNOWN, "duplex"],
    "a subscription to a store that is not configured is invalid_argument, naming it",
    async (at) => {
      await expectUnconfigured(at.follow({ storeName: "nope" }).next(), "configuration store", "nope");
    },
  );
}
