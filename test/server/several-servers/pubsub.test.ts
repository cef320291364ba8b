import assert from "node:assert/strict";
import { test } from "vitest";
import { createCallbacks } from "../../../src/app.js";
import { createPubsub, type TopicEvent } from "../../../src/index.js";
import { createTunnelTransport } from "../../../src/transport/tunnel-node.js";
import { type OneOfSeveral, openSeveral } from "../../support/several-servers.js";
import { until } from "../../support/until.js";

/** Servers, and apps that dial into one of them. */
async function open(options?: Parameters<typeof openSeveral>[0]) {
  const several = await openSeveral(options);
  const opened: AsyncDisposable[] = [];
  return {
    ...several,
    /** Connects an app that handles the events of topics. */
    async join(
      server: OneOfSeveral | undefined,
      appId: string,
      handlers: Record<string, (event: TopicEvent) => unknown>,
    ) {
      const tunnel = createTunnelTransport((await server?.listen()) ?? assert.fail(), { appId });
      opened.push(tunnel);
      const joined = () => server?.logged.filter((message) => message === "an app is here").length ?? 0;
      const before = joined();
      tunnel.serve(createCallbacks(handlers as never));
      await until(() => joined() > before);
      return tunnel;
    },
    async [Symbol.asyncDispose]() {
      for (const each of opened) await each[Symbol.asyncDispose]();
      await several[Symbol.asyncDispose]();
    },
  };
}

const pubsubOn = (server: OneOfSeveral | undefined) =>
  createPubsub(server?.transport ?? assert.fail(), "default");

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

const inOrder = (seen: readonly unknown[]) => (seen as number[]).toSorted((a, b) => a - b);

test("subscribers of one group on several servers share its events, and other groups get all of them", async () => {
  await using at = await open();
  const leave = new AbortController();
  const seen: number[][] = [[], [], [], []];
  const reading = [0, 1, 2, 0].map(async (server, i) => {
    const group = i < 3 ? "shared" : "other";
    const subscription = pubsubOn(at.servers[server]).subscribe<number>("t", { group, signal: leave.signal });
    for await (const message of subscription) {
      seen[i]?.push(message.data);
      message.ack();
    }
  });
  await until(async () => {
    await pubsubOn(at.servers[0]).publish("t", -1);
    return seen.every((one) => one.length > 0);
  });
  await until(async () => !(await at.engine.topics.hasWaiting("default\0t", "shared")));
  for (const one of seen) one.length = 0;
  for (const i of numbers(60)) await pubsubOn(at.servers[i % 3]).publish("t", i);
  await until(() => seen.slice(0, 3).flat().length === 60 && seen[3]?.length === 60);
  assert.deepEqual(inOrder(seen.slice(0, 3).flat()), numbers(60));
  assert.deepEqual(seen[3], numbers(60));
  assert.ok(
    seen.slice(0, 3).every((one) => one.length > 0),
    JSON.stringify(seen.slice(0, 3)),
  );
  leave.abort();
  await Promise.allSettled(reading);
});

test("apps of one name on several servers share their events, published on any server", async () => {
  await using at = await open();
  const seen: number[][] = [[], []];
  for (const i of [0, 1])
    await at.join(at.servers[i], "shop", { orders: ({ data }) => void seen[i]?.push(data as number) });
  for (const i of numbers(40)) await pubsubOn(at.servers[2]).publish("orders", i);
  await until(() => seen.flat().length === 40);
  assert.deepEqual(inOrder(seen.flat()), numbers(40));
  assert.ok(
    seen.every((one) => one.length > 0),
    JSON.stringify(seen),
  );
});

test("what the app of a server has not answered when that closes goes to the app of another server", async () => {
  await using at = await open();
  const second: unknown[] = [];
  let taken = 0;
  await at.join(at.servers[0], "shop", {
    orders: () => {
      taken++;
      return new Promise(() => {});
    },
  });
  for (const i of numbers(5)) await pubsubOn(at.servers[1]).publish("orders", i);
  await until(() => taken === 5);
  await at.join(at.servers[1], "shop", { orders: ({ data }) => void second.push(data) });
  assert.deepEqual(second, []);
  await at.servers[0]?.server.close();
  await until(() => second.length === 5);
  assert.deepEqual(inOrder(second), numbers(5));
});

test("an app that no longer wants a topic leaves its events to those of its name that do, on any server", async () => {
  await using at = await open();
  const seen: unknown[] = [];
  const old = await at.join(at.servers[0], "shop", { orders: () => assert.fail("it has left") });
  await old.close();
  await pubsubOn(at.servers[2]).publish("orders", 1);
  // The newer version subscribes to another topic only. The record of the app keeps the group that has events.
  const young = await at.join(at.servers[1], "shop", { returns: ({ data }) => void seen.push(data) });
  await pubsubOn(at.servers[0]).publish("returns", 2);
  await until(() => seen.length === 1);
  const record = await at.engine.keys.get("app\0shop");
  const groups = JSON.parse(new TextDecoder().decode(record?.value)) as { topic: string }[];
  assert.deepEqual(groups.map(({ topic }) => topic).toSorted(), ["default\0orders", "default\0returns"]);
  await at.join(at.servers[2], "shop", { orders: ({ data }) => void seen.push(data) });
  await until(() => seen.length === 2);
  await young.close();
});
