import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConsumeRequestSchema, LogService } from "../../gen/atomix/log/log_pb.js";
import { MessageSchema as GossipMessageSchema } from "../../gen/atomix/map/map_pb.js";
import {
  GetFileRequestSchema,
  Runtime,
  SubscribeConfigurationRequestSchema,
  SubscribeTopicEventsRequestSchema,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { openGossipMap } from "../../src/client/gossip-map.js";
import { createLog } from "../../src/client/log.js";
import { expectManyListeners } from "../../src/lib/max-listeners.js";
import { sleep } from "../../src/rpc/sleep.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { callDeaf, type Way } from "../memory/deaf.js";

const BLOCK = crypto.getRandomValues(new Uint8Array(64 * 1024));
const RUNTIME = "/spec.proto.runtime.v1.Runtime";

/** In MiB: the peak growth of the process, its growth after a garbage collection, and the bytes through its engine. */
type Growth = { rss: number; held: number; taken: number };

let server: ChildProcess;
let url: string;

async function ask<T>(question?: string): Promise<T> {
  const answer = once(server, "message");
  if (question) server.send(question);
  return (await answer)[0] as T;
}

/** The growth of the server while `use` runs. The function that `use` returns runs after the measurement. */
async function growth(use: () => Promise<() => void>): Promise<Growth> {
  await ask("begin");
  const end = await use();
  const grown = await ask<Growth>("end");
  end();
  if (process.env["SHOW_MEMORY"]) console.log(expect.getState().currentTestName, grown);
  return grown;
}

const hangUp = (calls: { hangUp(): void }[]) => () => {
  for (const call of calls) call.hangUp();
};

const bytesOf = <D extends DescMessage>(desc: D, init: MessageInitShape<D>): Uint8Array =>
  toBinary(desc, create(desc, init));

beforeAll(async () => {
  const outfile = join(import.meta.dirname, `.tmp/memory-${process.pid}.mjs`);
  const entry = join(import.meta.dirname, "../memory/server.ts");
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    target: "es2022",
  });
  server = fork(outfile, { execArgv: ["--expose-gc"] });
  ({ url } = await ask<{ url: string }>());
  await rm(outfile);
  await using transport = createNodeTransport(url);
  await createLog(transport, "default").append([1]);
});

afterAll(() => server?.kill());

const WAYS: Way[] = ["Connect over HTTP/2", "gRPC", "Connect over HTTP/1.1"];

for (const way of WAYS) {
  test(`a 200 MiB file to a reader that stops reading takes no memory: ${way}`, async () => {
    const request = bytesOf(GetFileRequestSchema, { storeName: "default", name: "f" });
    const { rss, taken } = await growth(async () => {
      const calls = Array.from({ length: 4 }, () => callDeaf(url, way, `${RUNTIME}/GetFile`, request));
      await sleep(400);
      return hangUp(calls);
    });
    assert.ok(taken > 0 && taken < 60, `${taken} MiB were read of the engine`);
    assert.ok(rss < 100, `${rss} MiB more`);
  });

  test(`a log to a reader that stops reading takes no memory: ${way}`, async () => {
    const request = bytesOf(ConsumeRequestSchema, {});
    const { rss, taken } = await growth(async () => {
      const call = callDeaf(url, way, "/atomix.log.LogService/Consume", request);
      await sleep(400);
      return call.hangUp;
    });
    assert.ok(taken > 0 && taken < 20, `${taken} MiB were read of the engine`);
    assert.ok(rss < 100, `${rss} MiB more`);
  });
}

test("events for subscribers that do not read take no memory beyond the engine's bounds", async () => {
  await using transport = createNodeTransport(url);
  const runtime = createClient(Runtime, transport);
  const subscribe = bytesOf(SubscribeTopicEventsRequestSchema, {
    subscribeTopicEventsRequestType: {
      case: "initialRequest",
      value: { pubsubName: "default", topic: "t", metadata: { maxInFlight: "1000" } },
    },
  });
  const { held } = await growth(async () => {
    const calls = WAYS.slice(0, 2).map((way) =>
      callDeaf(url, way, `${RUNTIME}/SubscribeTopicEvents`, subscribe, { halfClose: false }),
    );
    await sleep(200);
    let refused = 0;
    for (let sent = 0; sent < 256; sent += 64) {
      const one = () => runtime.publishEvent({ pubsubName: "default", topic: "t", data: BLOCK });
      const all = await Promise.allSettled(Array.from({ length: 64 }, one));
      refused += all.filter(({ status }) => status === "rejected").length;
    }
    assert.ok(refused > 0);
    return hangUp(calls);
  });
  assert.ok(held < 30, `${held} MiB more`);
});

test("changes that configuration subscribers and gossip members do not read are not kept for them", async () => {
  await using transport = createNodeTransport(url);
  const runtime = createClient(Runtime, transport);
  const subscribe = bytesOf(SubscribeConfigurationRequestSchema, {
    storeName: "default",
    appId: "a",
    keys: [],
  });
  const target = { namespace: "default", name: "m" };
  const join = bytesOf(GossipMessageSchema, { source: "deaf", target });
  const content = "x".repeat(256 * 1024);
  const { held } = await growth(async () => {
    const calls = WAYS.slice(0, 2).flatMap((way) => [
      callDeaf(url, way, `${RUNTIME}/SubscribeConfiguration`, subscribe, { halfClose: false }),
      callDeaf(url, way, "/atomix.map.GossipMapService/Connect", join, { halfClose: false }),
    ]);
    await sleep(200);
    await using map = await openGossipMap<string>(transport, "m");
    // One after the other: calls in progress would count as growth.
    for (let sent = 0; sent < 240; sent++) {
      const key = String(sent % 16);
      map.set(key, content);
      const items = [{ key, content }];
      await runtime.saveConfiguration({ storeName: "default", appId: "a", items });
    }
    return hangUp(calls);
  });
  // The sixteen values of each stay in the engine and the map.
  assert.ok(held < 40, `${held} MiB more`);
});

test("uploads and records that arrive faster than the engine writes take no memory", async () => {
  await using transport = createNodeTransport(url);
  const leave = new AbortController();
  const runtime = createClient(Runtime, transport);
  const log = createClient(LogService, transport);
  let sent = 0;
  const forEver = async function* <T>(message: T) {
    for (; ; sent += BLOCK.length) yield message;
  };
  const { rss } = await growth(async () => {
    const signal = expectManyListeners(leave.signal);
    const calls = Array.from({ length: 8 }, () => [
      runtime.putFile(forEver({ storeName: "default", name: "f", data: BLOCK }), { signal }),
      log.produce(forEver({ value: BLOCK }), { signal }),
    ]).flat();
    for (const call of calls) call.catch(() => {});
    await sleep(500);
    return () => leave.abort();
  });
  assert.ok(sent / 1024 ** 2 < 100, `${sent / 1024 ** 2} MiB were taken of the client`);
  assert.ok(rss < 100, `${rss} MiB more`);
});
