// Starts the cluster, counts by all three servers, and kills one of them and a NATS node meanwhile. Fails if an
// acknowledged increment is lost, or the servers disagree: node failover.js
import assert from "node:assert/strict";
import { count, readCount } from "./client.js";
import { startCluster } from "./cluster.js";

/** How long everyone counts after each step, and how long nobody may be able to. */
const COUNT_MS = 2000;
const LONGEST_GAP_MS = 30_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const { nodes, servers, balancer, close } = await startCluster();
try {
  const urls = servers.map(({ url }) => url);
  const stop = new AbortController();
  let latest = 0;
  const onCount = (value) => {
    latest = Math.max(latest, value);
  };
  // Each client begins at another server.
  const lists = urls.map((_, i) => [...urls.slice(i), ...urls.slice(0, i)]);
  if (balancer) lists.push([balancer.url]);
  const counting = Promise.all(lists.map((list) => count(list, stop.signal, onCount)));

  const step = async (text, act) => {
    await act?.();
    const before = latest;
    const startMs = performance.now();
    while (latest === before && performance.now() < startMs + LONGEST_GAP_MS) await pause(10);
    const gapMs = Math.round(performance.now() - startMs);
    assert.ok(latest > before, `${text}: nothing was counted within ${gapMs} ms`);
    await pause(COUNT_MS);
    console.log(`${text}: counting after ${gapMs} ms, from ${before} to ${latest}`);
  };
  await step("all run");
  await step(`server ${servers[0].url} is killed`, () => servers[0].end("SIGKILL"));
  await step("it is started again", () => servers[0].restart());
  await step(`server ${servers[1].url} is stopped in order`, () => servers[1].end("SIGTERM"));
  await step(`NATS node ${nodes[2].url} is killed`, () => nodes[2].end("SIGKILL"));
  stop.abort();
  const results = await counting;

  const acknowledged = results.reduce((sum, result) => sum + result.acknowledged, 0);
  const unknown = results.reduce((sum, result) => sum + result.unknown, 0);
  const gapMs = Math.round(Math.max(...results.map(({ longestGapMs }) => longestGapMs)));
  const seen = await Promise.all([urls[0], urls[2], ...(balancer ? [balancer.url] : [])].map(readCount));
  console.log(
    `${acknowledged} acknowledged, ${unknown} unknown, longest gap ${gapMs} ms; the servers see ${seen}`,
  );
  assert.equal(new Set(seen).size, 1, "the servers disagree");
  assert.ok(
    seen[0] >= acknowledged && seen[0] <= acknowledged + unknown,
    "an acknowledged increment is lost, or counted twice",
  );
} finally {
  await close();
}
