import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "vitest";
import { createPubsub } from "../../src/index.js";
import { serveCallbacks } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { nodePlatform } from "../../src/server/node.js";
import { until } from "../support/until.js";

test("an app that returns is asked within a second, and receives the events published meanwhile", async () => {
  const seen: unknown[] = [];
  const start = (port: number) => serveCallbacks({ orders: ({ data }) => void seen.push(data) }, { port });
  const first = await start(0);
  const config = { apps: { shop: { url: first.url } } };
  await using server = createServer({ platform: nodePlatform, config });
  const orders = createPubsub(server.transport(), "default");
  await until(async () => {
    await orders.publish("orders", "first");
    return seen.length > 0;
  });
  await first.close();
  // Longer than the growth of the backoff: without a bound it would be seconds by now.
  for (let i = 0; i < 4; i++) {
    await orders.publish("orders", `meanwhile ${i}`);
    await sleep(1000);
  }
  const startMs = performance.now();
  const second = await start(Number(new URL(first.url).port));
  await until(() => seen.includes("meanwhile 3"));
  const tookMs = performance.now() - startMs;
  for (let i = 0; i < 4; i++) assert.ok(seen.includes(`meanwhile ${i}`), `meanwhile ${i}`);
  assert.ok(tookMs < 1500, `it took ${tookMs} ms`);
  await second.close();
});
