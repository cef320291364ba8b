import assert from "node:assert/strict";
import { setMaxListeners } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect as connectTcp } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { GetStateRequestSchema, Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { ConfigInput, Server } from "../../src/server/index.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { failure } from "../decisions/failure.js";
import { until } from "../support/until.js";

const ADMIN = "admin-0123456789abcdef";
const READER = "reader-0123456789abcdef";

const access: ConfigInput["access"] = {
  tokens: [
    { token: ADMIN, subject: "admin", roles: ["all"] },
    { token: READER, subject: "reader", roles: ["all"] },
  ],
  roles: { all: [{ primitive: "*", verbs: ["*"] }] },
};

interface At extends AsyncDisposable {
  server: Server;
  url: string;
  /** A transport with a connection of its own, closed with the server. */
  dial(how: "HTTP/1.1" | "HTTP/2" | "the tunnel", token?: string): Transport;
}

async function open(config: ConfigInput): Promise<At> {
  const server = createServer({ config });
  const listening = await listen(server, { port: 0, graceMs: 100 });
  const dialled: AsyncDisposable[] = [];
  return {
    server,
    url: listening.url,
    dial(how, token) {
      const options = token === undefined ? {} : { token };
      const transport =
        how === "the tunnel"
          ? createTunnelTransport(listening.url, options)
          : createNodeTransport(listening.url, { httpVersion: how === "HTTP/2" ? "2" : "1.1", ...options });
      dialled.push(transport);
      return transport;
    },
    async [Symbol.asyncDispose]() {
      for (const each of dialled) await each[Symbol.asyncDispose]();
      await listening.close();
    },
  };
}

const save = (transport: Transport, key: string, bytes: number) =>
  createClient(Runtime, transport).saveState({
    storeName: "default",
    states: [{ key, value: new Uint8Array(bytes) }],
  });

const read = async (transport: Transport, key = "k"): Promise<number> =>
  (await createClient(Runtime, transport).getState({ storeName: "default", key })).data.length;

async function limitOf(call: Promise<unknown>): Promise<string | undefined> {
  const error = await failure(call);
  return error.findDetails(ErrorInfoSchema)[0]?.metadata["limit"];
}

/** Calls `method` by a raw request; resolves with the status, and does not read the response. */
function ask(session: ClientHttp2Session, method: string, body: Uint8Array, headers: IncomingHttpHeaders) {
  const request = session.request({ ":method": "POST", ":path": `/${method}`, ...headers });
  request.on("error", () => {});
  const status = new Promise<number>((resolve) => {
    request.once("response", (answer) => resolve(Number(answer[":status"])));
    request.once("close", () => resolve(0));
  });
  return { request, status, send: () => void request.end(body) };
}

/** Opens `count` Health watches; resolves with the number of accepted ones. */
async function watchHealth(session: ClientHttp2Session, count: number): Promise<number> {
  session.setMaxListeners(0);
  const headers = { "content-type": "application/grpc" };
  const answered = await Promise.all(
    Array.from({ length: count }, async () => {
      const { request, send } = ask(session, "grpc.health.v1.Health/Watch", new Uint8Array(5), headers);
      send();
      // A refusal has its status in the first headers, and no body.
      return new Promise<boolean>((resolve) => {
        request.once("data", () => resolve(true));
        request.once("end", () => resolve(false));
      });
    }),
  );
  return answered.filter(Boolean).length;
}

test("ten connections with the most Health watches leave streams for all others", async () => {
  // A tenth of the defaults.
  await using at = await open({ access, limits: { streams: 1000, connectionStreams: 100 } });
  const sessions = Array.from({ length: 10 }, () => connectHttp2(at.url));
  try {
    let watching = 0;
    for (const session of sessions) watching += await watchHealth(session, 100);
    assert.equal(watching, 100);
    const admin = at.dial("HTTP/2", ADMIN);
    await save(admin, "k", 10);
    assert.equal(await read(admin), 10);
    assert.equal(await limitOf(createClient(Health, admin).check({})), "anonymousSharePercent");
  } finally {
    for (const session of sessions) session.destroy();
  }
});

describe.each(["HTTP/2", "the tunnel"] as const)("over %s", (how) => {
  /** A stream that stays open until the signal aborts. */
  async function hold(transport: Transport, signal: AbortSignal): Promise<void> {
    const requests = async function* () {
      const value = { pubsubName: "default", topic: "t", metadata: { consumerGroup: "g" } };
      yield { subscribeTopicEventsRequestType: { case: "initialRequest" as const, value } };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    };
    setMaxListeners(0, signal);
    const answers = createClient(Runtime, transport).subscribeTopicEvents(requests(), { signal });
    await answers[Symbol.asyncIterator]().next();
  }

  test("one subject cannot take all streams, however many connections it has", async () => {
    await using at = await open({ access, limits: { streams: 20 } });
    const leave = new AbortController();
    const own = [at.dial(how, READER), at.dial(how, READER), at.dial(how, READER)];
    for (let i = 0; i < 10; i++) await hold(own[i % 3] as Transport, leave.signal);
    assert.equal(await limitOf(read(own[0] as Transport)), "subjectSharePercent");
    const admin = at.dial(how, ADMIN);
    for (let i = 0; i < 10; i++) await save(admin, "k", 10);
    leave.abort();
    await until(() => read(own[0] as Transport).then(() => true));
  });

  test("without access rules, one connection cannot take all streams", async () => {
    await using at = await open({ limits: { streams: 20 } });
    const leave = new AbortController();
    const greedy = at.dial(how);
    for (let i = 0; i < 10; i++) await hold(greedy, leave.signal);
    assert.equal(await limitOf(read(greedy)), "connectionSharePercent");
    assert.equal(await read(at.dial(how)), 0);
    leave.abort();
    await until(() => read(greedy).then(() => true));
  });

  test("calls with unknown tokens or without one leave streams for known tokens", async () => {
    await using at = await open({ access, limits: { streams: 20 } });
    const leave = new AbortController();
    setMaxListeners(0, leave.signal);
    // More than all streams, by connections that each use their share.
    const watches = Array.from({ length: 25 }, async () => {
      const watched = createClient(Health, at.dial(how)).watch({}, { signal: leave.signal });
      await watched[Symbol.asyncIterator]().next();
    });
    const strangers = Array.from({ length: 50 }, () => read(at.dial(how, "unknown-0123456789abcdef")));
    const ended = await Promise.allSettled([...watches, ...strangers]);
    assert.equal(ended.filter(({ status }) => status === "fulfilled").length, 2);
    assert.equal(await read(at.dial(how, ADMIN)), 0);
    leave.abort();
  });
});

test("callers without a token share a part of the streams if access admits them", async () => {
  await using at = await open({ access: { ...access, anonymous: "all" }, limits: { streams: 20 } });
  const leave = new AbortController();
  const { signal } = leave;
  for (let i = 0; i < 2; i++) {
    const answers = createClient(Health, at.dial("HTTP/2")).watch({}, { signal });
    await answers[Symbol.asyncIterator]().next();
  }
  assert.equal(await limitOf(read(at.dial("HTTP/2"))), "anonymousSharePercent");
  assert.equal(await read(at.dial("HTTP/2", READER)), 0);
  leave.abort();
  await until(() =>
    read(at.dial("HTTP/2")).then(
      () => true,
      () => false,
    ),
  );
});

test("incomplete messages of one connection hit its share of arrivingBytes, and others are not affected", async () => {
  const limits = { arrivingBytes: 400_000, messageBytes: 150_000 };
  await using at = await open({ limits });
  const session = connectHttp2(at.url);
  const headers = { "content-type": "application/proto" };
  const begin = () => {
    const asked = ask(session, "spec.proto.runtime.v1.Runtime/SaveState", new Uint8Array(), headers);
    asked.request.write(new Uint8Array(60_000));
    return asked.status;
  };
  const calls = Array.from({ length: 6 }, begin);
  assert.equal(await Promise.race(calls), 429);
  await save(at.dial("HTTP/2"), "k", 140_000);
  session.destroy();
});

/** The default limit of a value; one byte more would not fit into the messages of default clients. */
const VALUE_BYTES = 4 * 1024 ** 2 - 64 * 1024;
const READS = 80;
const message = (key: string): Uint8Array =>
  toBinary(GetStateRequestSchema, create(GetStateRequestSchema, { storeName: "default", key }));

test("HTTP/2: 80 unread responses of 4 MiB hit the connection's share of leavingBytes, and others are not affected", async () => {
  await using at = await open({});
  const other = at.dial("HTTP/2");
  await save(other, "k", VALUE_BYTES);
  const session = connectHttp2(at.url, { settings: { initialWindowSize: 0 } });
  const headers = { "content-type": "application/proto" };
  const reads = Array.from({ length: READS }, () =>
    ask(session, "spec.proto.runtime.v1.Runtime/GetState", new Uint8Array(), headers),
  );
  for (const { request } of reads) request.end(message("k"));
  // The share of one connection is 128 MiB, and as much may wait for it: the rest is refused.
  const refused = await Promise.any(
    reads.map(async ({ status }) => {
      const code = await status;
      if (code !== 429) throw new Error(String(code));
      return code;
    }),
  );
  assert.equal(refused, 429);
  for (let i = 0; i < 5; i++) assert.equal(await read(other), VALUE_BYTES);
  assert.ok(process.memoryUsage().arrayBuffers < 400 * 1024 ** 2);
  session.destroy();
});

test("HTTP/1.1: unread pipelined responses leave room for others, and end with their connection", async () => {
  await using at = await open({ limits: { leavingBytes: 16 * 1024 ** 2 } });
  const other = at.dial("HTTP/1.1");
  await save(other, "k", VALUE_BYTES);
  const socket = connectTcp(Number(new URL(at.url).port), "127.0.0.1").on("error", () => {});
  socket.pause();
  const body = message("k");
  const head = [
    "POST /spec.proto.runtime.v1.Runtime/GetState HTTP/1.1",
    "host: localhost",
    "content-type: application/proto",
    `content-length: ${body.length}`,
  ].join("\r\n");
  for (let i = 0; i < READS; i++) socket.write(Buffer.concat([Buffer.from(`${head}\r\n\r\n`), body]));
  for (let i = 0; i < 5; i++) assert.equal(await read(other), VALUE_BYTES);
  // If they did not end, disposing of the server would never resolve.
  socket.destroy();
});
