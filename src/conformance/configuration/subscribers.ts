import { Code } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { expectRefusal } from "../expect-refusal.js";
import type { ConfigurationCalls } from "./calls.js";

export function subscriptionEndCases(on: DeclareCase<ConfigurationCalls>): void {
  on(
    ["SubscribeConfiguration", "duplex"],
    "half-close keeps the subscription until the client cancels",
    async (at) => {
      const stream = at.follow({ keys: ["a"] });
      stream.halfClose();
      equal(await stream.items(), []);
      await at.save({ a: "1" });
      equal(await stream.items(), ["a: 1"]);
      await at.save({ a: "2" });
      equal(await stream.items(), ["a: 2"]);
      const next = expectRefusal(stream.next(), Code.Canceled);
      stream.leave();
      await next;
    },
  );

  on(["SubscribeConfiguration", "duplex"], "the cancellation of one stream touches no other", async (at) => {
    const [one, other] = [at.follow({ keys: ["a"] }), at.follow({ keys: ["a"] })];
    await one.next();
    await other.next();
    one.leave();
    await at.save({ a: "1" });
    equal(await other.items(), ["a: 1"]);
  });

  on(["SubscribeConfiguration", "duplex"], "the failure of one stream touches no other", async (at) => {
    const [one, other] = [at.follow({ keys: ["a"] }), at.follow({ keys: ["a"] })];
    await one.next();
    await other.next();
    one.ask({ storeName: "nope" });
    await expectRefusal(one.next(), Code.InvalidArgument);
    await at.save({ a: "1" });
    equal(await other.items(), ["a: 1"]);
  });
}

export function severalSubscriberCases(on: DeclareCase<ConfigurationCalls>): void {
  on(["SubscribeConfiguration", "duplex"], "any number of streams may follow the same key", async (at) => {
    const streams = Array.from({ length: 6 }, () => at.follow({ keys: ["a"] }));
    for (const stream of streams) await stream.next();
    await at.save({ a: "1" });
    for (const stream of streams) equal(await stream.items(), ["a: 1"]);
  });

  on(
    ["SubscribeConfiguration", "duplex", "second client"],
    "a subscriber receives what another client saves",
    async (at) => {
      const stream = at.follow({ keys: ["a"] });
      await stream.next();
      const other = at.client(Runtime, await at.second());
      const items = [{ key: "a", content: "1", group: at.group }];
      await other.saveConfiguration({ storeName: at.storeName, items });
      at.after(() => at.remove(["a"]));
      equal(await stream.items(), ["a: 1"]);
    },
  );

  on(["SubscribeConfiguration", "duplex"], "a subscription with a deadline ends with it", async (at) => {
    async function* requests() {
      yield { storeName: at.storeName, group: at.group };
      await new Promise(() => {});
    }
    const stream = at.runtime.subscribeConfiguration(requests(), { timeoutMs: 200 });
    let responses = 0;
    await expectRefusal(
      (async () => {
        for await (const _ of stream) responses++;
      })(),
      Code.DeadlineExceeded,
    );
    ok(responses <= 1, `there were ${responses} responses, of which one is the current values`);
  });
}
