import { Agent, request as http1Request } from "node:http";
import { connect } from "node:http2";
import { fileURLToPath } from "node:url";
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { createClient as createRaw, type Transport } from "@connectrpc/connect";
import * as grpc from "@grpc/grpc-js";
import { loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { createClient } from "fairlead";
import { GetStateRequestSchema, Runtime } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport, createTunnelTransport } from "fairlead/node";
import { Redis } from "ioredis";
import type { Load, Turn } from "./http.js";
import { STREAMS } from "./servers/streams.js";
import { percentile } from "./table.js";

// A client of the bench `http`, in a process of its own: makes calls of one kind whenever it is asked to.

const REQUEST = { storeName: "default", key: "bench" };
const PATH = "/spec.proto.runtime.v1.Runtime/GetState";
const VALUE = { name: "Ada", count: 1 };

const message = create(GetStateRequestSchema, REQUEST);

function raw(transport: Transport) {
  const client = createRaw(Runtime, transport);
  return () => client.getState(REQUEST);
}

/** Reads a log to its end by gRPC, without decoding it. */
function readStream(url: string, log: keyof typeof STREAMS) {
  const session = connect(url, { settings: { initialWindowSize: 1024 * 1024 } });
  const headers = {
    ":method": "POST",
    ":path": "/atomix.log.LogService/Consume",
    "content-type": "application/grpc",
    "fairlead-log": log,
    "fairlead-follow": "false",
  };
  const { count, bytes } = STREAMS[log];
  return () =>
    new Promise<void>((resolve, reject) => {
      const stream = session.request(headers);
      let received = 0;
      stream.on("data", (chunk: Buffer) => {
        received += chunk.length;
      });
      stream.on("end", () =>
        received >= count * bytes ? resolve() : reject(new Error(`only ${received} bytes of ${log}`)),
      );
      stream.on("error", reject);
      // An empty request: from the first record on.
      stream.end(Buffer.alloc(5));
    });
}

/** How each kind of client makes one call. */
const KINDS: Record<string, (url: string) => () => Promise<unknown>> = {
  "grpc-js"(url) {
    const proto = fileURLToPath(new URL("../../proto", import.meta.url));
    const loaded = loadSync("spec/proto/runtime/v1/runtime.proto", { includeDirs: [proto] });
    type Client = new (
      address: string,
      credentials: grpc.ChannelCredentials,
    ) => { GetState(request: unknown, done: (error: unknown, answer: unknown) => void): void };
    const packages = loadPackageDefinition(loaded) as unknown as {
      spec: { proto: { runtime: { v1: { Runtime: Client } } } };
    };
    const client = new packages.spec.proto.runtime.v1.Runtime(
      new URL(url).host,
      grpc.credentials.createInsecure(),
    );
    return () =>
      new Promise((resolve, reject) => {
        client.GetState(REQUEST, (error, answer) => (error ? reject(error) : resolve(answer)));
      });
  },

  "raw-http1"(url) {
    const agent = new Agent({ keepAlive: true });
    const body = Buffer.from(toJsonString(GetStateRequestSchema, message));
    const headers = { "content-type": "application/json", "content-length": body.length };
    return () =>
      new Promise((resolve, reject) => {
        const request = http1Request(url + PATH, { agent, method: "POST", headers }, (response) => {
          response.on("data", () => {});
          response.on("end", () =>
            response.statusCode === 200 ? resolve(undefined) : reject(response.statusCode),
          );
        });
        request.on("error", reject);
        request.end(body);
      });
  },

  "raw-http2"(url) {
    const session = connect(url);
    const body = Buffer.from(toBinary(GetStateRequestSchema, message));
    const headers = { ":method": "POST", ":path": PATH, "content-type": "application/proto" };
    return () =>
      new Promise((resolve, reject) => {
        const stream = session.request(headers);
        let status: number | undefined;
        stream.on("response", (answer) => {
          status = answer[":status"];
        });
        stream.on("data", () => {});
        stream.on("end", () => (status === 200 ? resolve(undefined) : reject(status)));
        stream.on("error", reject);
        stream.end(body);
      });
  },

  "stream-small": (url) => readStream(url, "small"),
  "stream-large": (url) => readStream(url, "large"),

  "fairlead-connect": (url) => raw(createNodeTransport(url)),
  "fairlead-grpc": (url) => raw(createNodeTransport(url, { protocol: "grpc" })),

  "tunnel-get"(url) {
    const state = createClient(createTunnelTransport(url)).state();
    return () => state.get(REQUEST.key);
  },
  "tunnel-set"(url) {
    const state = createClient(createTunnelTransport(url)).state();
    return () => state.set(REQUEST.key, VALUE);
  },

  "redis-get"(url) {
    const redis = new Redis(url, { enableAutoPipelining: true });
    return async () => JSON.parse((await redis.get(REQUEST.key)) ?? "null");
  },
  "redis-set"(url) {
    const redis = new Redis(url, { enableAutoPipelining: true });
    return () => redis.set(REQUEST.key, JSON.stringify(VALUE));
  },
};

async function load(call: () => Promise<unknown>, { ms, many }: Turn): Promise<Load> {
  const timesMs: number[] = [];
  const startMs = performance.now();
  const before = process.cpuUsage();
  const one = async () => {
    for (let now = performance.now(); now - startMs < ms; ) {
      await call();
      const after = performance.now();
      timesMs.push(after - now);
      now = after;
    }
  };
  await Promise.all(Array.from({ length: many }, one));
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(before);
  return {
    calls: timesMs.length,
    perSecond: timesMs.length / seconds,
    p50Ms: percentile(timesMs, 0.5),
    clientCpuUs: (user + system) / timesMs.length,
  };
}

const [kind = "", url = ""] = process.argv.slice(2);
const makeCall = KINDS[kind];
if (!makeCall) throw new Error(`There is no client ${kind}: they are ${Object.keys(KINDS).join(", ")}`);
const call = makeCall(url);
process.on("message", (turn: Turn) => void load(call, turn).then((done) => process.send?.(done)));
process.send?.("ready");
