import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { createCallbacks } from "../../src/app.js";
import { createClient, createPubsub, withToken } from "../../src/index.js";
import { type Logger, silent } from "../../src/server/context.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { ConfigError, type ConfigInput, createServer } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { until } from "../support/until.js";

const ADMIN = "admin-0123456789abcdef";
const READER = "reader-0123456789abcdef";
const BILLING = "billing-0123456789abcdef";
const GROUPED = "grouped-0123456789abcdef";

const config: ConfigInput = {
  services: { stock: { url: "http://127.0.0.1:9" } },
  access: {
    tokens: [
      { token: ADMIN, subject: "admin", rules: [{ primitive: "*", verbs: ["*"] }] },
      { token: READER, subject: "reader", rules: [{ primitive: "pubsub", verbs: ["read"] }] },
      {
        token: BILLING,
        subject: "billing",
        rules: [
          { primitive: "service", store: "billing", verbs: ["OnTopicEvent"] },
          { primitive: "pubsub", verbs: ["read"] },
        ],
      },
      {
        token: GROUPED,
        subject: "grouped",
        rules: [{ primitive: "pubsub", store: "default", group: "report-*", verbs: ["read"] }],
      },
    ],
  },
};

async function open(engine = memoryEngine(), log: Logger = silent) {
  const server = createServer({ platform: nodePlatform, config, engine, log });
  const at = await listen(server, { port: 0 });
  const tunnels: AsyncDisposable[] = [];
  const dial = (token: string, appId?: string) => {
    const tunnel = createTunnelTransport(at.url, { token, ...(appId !== undefined && { appId }) });
    tunnels.push(tunnel);
    return tunnel;
  };
  /** The first events that a subscription is told, or why it is refused. */
  const subscribe = async (token: string, consumerGroup?: string, header: Record<string, string> = {}) => {
    const fl = createClient(withToken(server.transport({ trusted: false }), token));
    const requests = async function* () {
      const metadata: Record<string, string> = consumerGroup === undefined ? {} : { consumerGroup };
      const value = { pubsubName: "default", topic: "orders", metadata };
      yield { subscribeTopicEventsRequestType: { case: "initialRequest" as const, value } };
    };
    try {
      const told: unknown[] = [];
      for await (const { subscribeTopicEventsResponseType: each } of fl.raw.runtime.subscribeTopicEvents(
        requests(),
        { headers: header },
      ))
        if (each.case === "eventMessage") told.push(each.value.id);
      return told.length;
    } catch (error) {
      return ConnectError.from(error).code;
    }
  };
  const close = async () => {
    for (const each of tunnels) await each[Symbol.asyncDispose]();
    await at.close();
  };
  return { server, dial, subscribe, [Symbol.asyncDispose]: close };
}

test("consumer groups: a group that is called like an app is for who may be that app, whether it is there or not", async () => {
  const engine = memoryEngine();
  const kept = { ...engine, close: async () => {} };
  {
    await using at = await open(kept);
    const orders = createPubsub(at.server.transport(), "default");
    const seen: string[] = [];
    const app = at.dial(BILLING, "billing");
    const serving = app.serve(createCallbacks({ orders: ({ id }) => void seen.push(id) }));
    await serving.ready;
    await until(async () => {
      await orders.publish("orders", 1);
      return seen.length > 0;
    });
    assert.equal(await at.subscribe(READER, "billing"), Code.PermissionDenied);
    assert.equal(
      await at.subscribe(READER, undefined, { "fairlead-app-id": "billing" }),
      Code.PermissionDenied,
    );
    await serving.close();
    await app[Symbol.asyncDispose]();
    await orders.publish("orders", 2);
    assert.equal(await at.subscribe(READER, "billing"), Code.PermissionDenied);
  }
  // After a restart too: the group is still there, with the event that waits for the app.
  await using at = await open(kept);
  assert.equal(await at.subscribe(READER, "billing"), Code.PermissionDenied);
  assert.equal(await at.subscribe(READER, "stock"), Code.PermissionDenied);
  assert.equal(await at.subscribe(READER, "reports"), 0);
  assert.equal(typeof (await at.subscribe(BILLING, "billing")), "number");
  assert.equal(await at.subscribe(ADMIN, "stock"), 0);
});

test("consumer groups: a rule that names groups is for no other", async () => {
  await using at = await open();
  assert.equal(await at.subscribe(GROUPED, "report-1"), 0);
  assert.equal(await at.subscribe(GROUPED, "other"), Code.PermissionDenied);
  assert.equal(await at.subscribe(GROUPED), Code.PermissionDenied);
});

test("consumer groups: an app that dials in has no events of a group that is another app's", async () => {
  const engine = memoryEngine();
  const told: Record<string, unknown>[] = [];
  const note = (fields: object, message: string) => void told.push({ ...fields, message });
  await using at = await open(engine, { debug() {}, info: note, warn: note, error: note });
  const own: string[] = [];
  const stolen: string[] = [];
  at.dial(BILLING, "billing").serve(
    createCallbacks({
      orders: { group: "stock", handler: ({ id }) => void stolen.push(id) },
      bills: ({ id }) => void own.push(id),
    }),
  );
  await until(() => told.some(({ message }) => message === "an app is here"));
  const [refused] = told.filter(({ message }) => message === "a subscription of an app is left out");
  assert.equal(refused?.["topic"], "orders");
  assert.match(String(refused?.["why"]), /no rule lets the app have the events of group "stock"/);
  const pubsub = createPubsub(at.server.transport(), "default");
  await pubsub.publish("orders", 1);
  await pubsub.publish("bills", 1);
  await until(() => own.length === 1);
  assert.deepEqual(stolen, []);
});

test("consumer groups: groups are for pubsub only", () => {
  const rules = [{ primitive: "state" as const, group: "g", verbs: ["read"] }];
  const access = { tokens: [{ token: READER, subject: "r", rules }] };
  assert.throws(
    () => createServer({ config: { access } }),
    (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, /rules\[0\]\.group: must be left out: only "pubsub" has groups/);
      return true;
    },
  );
});
