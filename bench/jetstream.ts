import { cpus } from "node:os";
import { join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { JetStreamApiError, type JetStreamClient, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { createClient } from "fairlead";
import { createNodeTransport, createTunnelTransport } from "fairlead/node";
import type { Engine } from "fairlead/server";
import { openJetStreamEngine } from "fairlead/server/jetstream";
import { type Child, startServer } from "./child.js";
import { perSecond, rate } from "./rate.js";
import { type NatsServers, startNats } from "./servers/nats.js";
import { compare, median, percentile, print, type Row } from "./table.js";

const CALLERS = 64;
const WRITERS = 16;
const KEYS = 10_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const value = encoder.encode("x".repeat(100));
const record = new Uint8Array(1024).fill(7);
const key = () => `k${Math.floor(Math.random() * KEYS)}`;
const higher = (ours: number, theirs: number) => ours / theirs;

/** One replica count: the engine and the NATS client at the same servers, each with its own connection. */
interface Sides extends AsyncDisposable {
  replicas: 1 | 3;
  nats: NatsServers;
  engine: Engine;
  nc: NatsConnection;
  js: JetStreamClient;
  kv: KV;
  ms: number;
  rounds: number;
}

async function openSides(replicas: 1 | 3, quick: boolean): Promise<Sides> {
  const nats = await startNats(join(import.meta.dirname, "disk"), replicas);
  const engine = await openJetStreamEngine({ servers: nats.urls, replicas });
  const nc = await connect({ servers: [...nats.urls] });
  const kv = await new Kvm(nc).create("bench", { replicas, history: 1 });
  const [ms, rounds] = quick ? [500, 1] : [2000, 5];
  const dispose = async () => {
    await engine.close();
    await nc.close();
    await nats[Symbol.asyncDispose]();
  };
  return { replicas, nats, engine, nc, js: jetstream(nc), kv, ms, rounds, [Symbol.asyncDispose]: dispose };
}

/** The engine on JetStream, against the client of NATS at the same servers. */
export async function jetStream(quick: boolean): Promise<boolean> {
  const rows: Row[] = [];
  for (const replicas of [1, 3] as const) {
    await using sides = await openSides(replicas, quick);
    rows.push(...(await keyRows(sides)), await logRow(sides), await contendedRow(sides));
    if (replicas === 3) {
      rows.push(await idRow(sides), await eventRow(sides), ...(await serverRows(sides)));
    }
  }
  return print("JetStream engine, against nats.js at the same servers", rows);
}

const on = ({ replicas }: Sides) => `${replicas} replica${replicas > 1 ? "s" : ""}`;

async function keyRows(sides: Sides): Promise<Row[]> {
  const { engine, kv, ms, rounds } = sides;
  for (let at = 0; at < KEYS; at += 1000) {
    const keys = Array.from({ length: 1000 }, (_, i) => `k${at + i}`);
    await Promise.all(keys.map((name) => kv.put(name, value)));
    await Promise.all(keys.map((name) => engine.keys.commit([{ type: "set", key: name, value }])));
  }
  const commits = await compare(
    rounds,
    () => rate(ms, CALLERS, () => engine.keys.commit([{ type: "set", key: key(), value }])),
    () => rate(ms, CALLERS, () => kv.put(key(), value)),
    higher,
  );
  const gets = await compare(
    rounds,
    () => rate(ms, CALLERS, () => engine.keys.get(key())),
    () => rate(ms, CALLERS, () => kv.get(key())),
    higher,
  );
  const row = (what: string, { ratio, ours, theirs }: typeof gets): Row => ({
    what: `${what}, ${CALLERS} callers, ${on(sides)}, against a KV bucket`,
    ratio,
    goal: { atLeast: 0.8 },
    detail: `${perSecond(ours)} and ${perSecond(theirs)}`,
  });
  return [row("commits", commits), row("linearizable gets", gets)];
}

async function logRow(sides: Sides): Promise<Row> {
  const { engine, js, nc, replicas, ms, rounds } = sides;
  const manager = await jetstreamManager(nc);
  await manager.streams.add({ name: "peer-log", subjects: ["peer.log"], num_replicas: replicas });
  const batch = Array.from({ length: 100 }, () => record);
  const { ratio, ours, theirs } = await compare(
    rounds,
    async () => 100 * (await rate(ms, 4, () => engine.logs.append("l", batch))),
    async () =>
      100 * (await rate(ms, 4, () => Promise.all(batch.map((each) => js.publish("peer.log", each))))),
    higher,
  );
  await manager.streams.delete("peer-log");
  return {
    what: `log records of 1 KiB in batches of 100, ${on(sides)}, against publishing 100 at a time`,
    ratio,
    goal: { atLeast: 0.8 },
    detail: `${perSecond(ours)} and ${perSecond(theirs)}`,
  };
}

/** The error codes of a KV update over another version, and of one while another update is in process. */
const CONFLICTS = [10_071, 10_164];

/** The times of `call` by `callers` at the same time, in milliseconds. */
async function times(ms: number, callers: number, call: () => Promise<unknown>): Promise<number[]> {
  const all: number[] = [];
  await rate(ms, callers, async () => {
    const begunMs = performance.now();
    await call();
    all.push(performance.now() - begunMs);
  });
  return all;
}

/** Adds 1 to the counter at `name`, which exists, without a delay between attempts. */
async function incrementKv(kv: KV, name: string): Promise<void> {
  for (;;) {
    const entry = await kv.get(name);
    try {
      await kv.update(name, `${Number(entry?.string()) + 1}`, entry?.revision ?? 0);
      return;
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || !CONFLICTS.includes(error.code)) throw error;
    }
  }
}

/** The same by commits, whose conflicts tell the current entry. */
async function increment({ keys }: Engine, name: string): Promise<void> {
  let entry = await keys.get(name);
  for (;;) {
    const count = entry ? Number(decoder.decode(entry.value)) : 0;
    const ifVersion = entry?.version ?? 0n;
    const result = await keys.commit([
      { type: "set", key: name, value: encoder.encode(`${count + 1}`), ifVersion },
    ]);
    if ("version" in result) return;
    entry = result.actual;
  }
}

async function contendedRow(sides: Sides): Promise<Row> {
  const { engine, kv, ms, rounds } = sides;
  await kv.put("counter", "0");
  const p99 = (all: readonly number[]) => percentile(all, 0.99);
  const { ratio, ours, theirs } = await compare(
    rounds,
    () => times(ms, WRITERS, () => increment(engine, "counter")),
    () => times(ms, WRITERS, () => incrementKv(kv, "counter")),
    (mine, other) => p99(mine) / p99(other),
  );
  const figures = (all: readonly number[][]) =>
    `${p99(all.flat()).toFixed(0)} ms at ${perSecond([(all.flat().length * 1000) / (ms * rounds)])}`;
  return {
    what: `increments of one key, ${WRITERS} writers, ${on(sides)}: p99 of commits against KV updates`,
    ratio,
    goal: { atMost: 0.2 },
    detail: `${figures(ours)} and ${figures(theirs)}`,
  };
}

async function idRow(sides: Sides): Promise<Row> {
  const { kv, ms, rounds } = sides;
  const servers = await startServers(sides, 1);
  const fl = createClient(createTunnelTransport(servers[0]?.url ?? ""));
  await kv.put("orders", "0");
  const ids = fl.sequencer("default");
  const { ratio, ours, theirs } = await compare(
    rounds,
    () => rate(ms, CALLERS, () => ids.next("orders", { guarantee: "strong" })),
    () => rate(ms, CALLERS, () => incrementKv(kv, "orders")),
    higher,
  );
  await fl.close();
  await stopAll(servers);
  return {
    what: `STRONG ids of one key from a reference server, ${CALLERS} callers, ${on(sides)}, against one KV update for each`,
    ratio,
    goal: { atLeast: 20 },
    detail: `${perSecond(ours)} and ${perSecond(theirs)}`,
  };
}

const startServers = (sides: Sides, count: number): Promise<Child[]> =>
  Promise.all(
    Array.from({ length: count }, () => startServer("jetstream", `${sides.replicas}`, ...sides.nats.urls)),
  );

const stopAll = (servers: readonly Child[]) =>
  Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));

/** The times from publishing to delivery of events, one after the other. `receive` takes a callback for deliveries. */
async function eventTimes(
  count: number,
  publish: () => Promise<unknown>,
  onNext: (call: () => void) => void,
) {
  const all: number[] = [];
  for (let i = 0; i < count; i++) {
    const begunMs = performance.now();
    const delivered = new Promise<void>((resolve) => onNext(resolve));
    const published = publish();
    await delivered;
    all.push(performance.now() - begunMs);
    await published;
  }
  return all;
}

async function eventRow(sides: Sides): Promise<Row> {
  const { js, nc, nats, replicas, ms } = sides;
  const servers = await startServers(sides, 2);
  const [publisher, subscriber] = servers.map(({ url }) => createClient(createTunnelTransport(url)));
  let onOwn = () => {};
  let onTheirs = () => {};
  const open = new Promise<void>((resolve) => {
    void (async () => {
      for await (const _ of subscriber?.pubsub("default").subscribe("bench", { onOpen: resolve }) ?? [])
        onOwn();
    })().catch(() => {});
  });
  await open;
  const manager = await jetstreamManager(nc);
  await manager.streams.add({
    ...{ name: "peer-events", subjects: ["peer.event"], num_replicas: replicas },
    retention: "interest",
  });
  await manager.consumers.add("peer-events", { durable_name: "bench", ack_policy: "explicit" });
  const receiving = await connect({ servers: [...nats.urls] });
  const messages = await (await jetstream(receiving).consumers.get("peer-events", "bench")).consume();
  void (async () => {
    for await (const message of messages) {
      onTheirs();
      message.ack();
    }
  })().catch(() => {});
  const events = publisher?.pubsub("default");
  const { ratio, ours, theirs } = await compare(
    10,
    () =>
      eventTimes(
        ms / 10,
        async () => events?.publish("bench", value),
        (call) => (onOwn = call),
      ),
    () =>
      eventTimes(
        ms / 10,
        () => js.publish("peer.event", value),
        (call) => (onTheirs = call),
      ),
    (mine, other) => median(mine) / median(other),
  );
  await Promise.all([publisher?.close(), subscriber?.close(), receiving.close()]);
  await stopAll(servers);
  await manager.streams.delete("peer-events");
  return {
    what: `event from publish to delivery through two reference servers, ${on(sides)}: p50 against publish to consume`,
    ratio,
    goal: { atMost: 3 },
    detail: `${median(ours.flat()).toFixed(2)} ms and ${median(theirs.flat()).toFixed(2)} ms`,
  };
}

async function serverRows(sides: Sides): Promise<Row[]> {
  const servers = await startServers(sides, 3);
  const row = await mixedRow(sides, servers);
  const ownGap = await longestGap(servers, async () => void (await servers[0]?.[Symbol.asyncDispose]()));
  const rest = servers.slice(1);
  const leaderGap = await longestGap(rest, () => sides.nats.killLeader("fairlead-keys"));
  await stopAll(rest);
  const gapRow = (what: string, gapMs: number, atMost: number): Row => ({
    what: `longest time without a completed write when ${what} is killed, of 8 clients`,
    ratio: gapMs / 1000,
    goal: { atMost },
    shown: `${(gapMs / 1000).toFixed(2)} s`,
    detail: "etcd elects after 1 s by default",
  });
  return [row, gapRow("a reference server", ownGap, 0.5), gapRow("the stream's leader", leaderGap, 5)];
}

/** Reads, writes, events and ids by clients of `servers`. */
async function mixedRate(servers: readonly Child[], ms: number): Promise<number> {
  const clients = Array.from({ length: 12 }, (_, i) =>
    createClient(createTunnelTransport(servers[i % servers.length]?.url ?? "")),
  );
  let calls = 0;
  const perSecond = await rate(ms, CALLERS, async () => {
    const call = calls++;
    const fl = clients[call % clients.length];
    const kind = call % 8;
    if (kind < 4) await fl?.state("default").get(key());
    else if (kind < 6) await fl?.state("default").set(key(), "x".repeat(100));
    else if (kind < 7) await fl?.pubsub("default").publish("mixed", "x".repeat(100));
    else await fl?.sequencer("default").next("mixed");
  });
  await Promise.all(clients.map((fl) => fl.close()));
  return perSecond;
}

async function mixedRow({ ms, rounds }: Sides, servers: readonly Child[]): Promise<Row> {
  const { ratio, ours, theirs } = await compare(
    rounds,
    () => mixedRate(servers, ms),
    () => mixedRate(servers.slice(0, 1), ms),
    higher,
  );
  const cores = cpus().length;
  return {
    what: `mixed calls, ${CALLERS} callers: three reference servers against one; all processes share ${cores} cores`,
    ratio,
    goal: { atLeast: 2 },
    detail: `${perSecond(ours)} and ${perSecond(theirs)}; for each core ${perSecond(ours.map((each) => each / cores))}`,
  };
}

const isUnavailable = (error: unknown) => error instanceof ConnectError && error.code === Code.Unavailable;

/** The longest time between two writes of one of 8 clients, each with all servers, around `fail`. */
async function longestGap(servers: readonly Child[], fail: () => Promise<void>): Promise<number> {
  const urls = servers.map(({ url }) => url);
  const clients = Array.from({ length: 8 }, () => createClient(createNodeTransport(urls)));
  let gapMs = 0;
  let isOver = false;
  const calling = clients.map(async (fl, i) => {
    const set = () => fl.state("default").set(`gap${i}`, 1, { timeoutMs: 20_000 });
    for (let lastMs = performance.now(); !isOver; await later(5)) {
      // A write under way in a killed server has an unknown outcome, which is no response either.
      const isDone = await set().then(
        () => true,
        (error: unknown) => {
          if (!isUnavailable(error)) throw error;
          return false;
        },
      );
      if (!isDone) continue;
      const nowMs = performance.now();
      gapMs = Math.max(gapMs, nowMs - lastMs);
      lastMs = nowMs;
    }
  });
  await later(1000);
  gapMs = 0;
  await fail();
  await later(12_000);
  isOver = true;
  await Promise.all(calling);
  await Promise.all(clients.map((fl) => fl.close()));
  return gapMs;
}
