import { once } from "node:events";
import { createServer as createHttp1 } from "node:http";
import { createServer as createHttp2, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo, Server as NetServer } from "node:net";
import { fileURLToPath } from "node:url";
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { GetStateResponseSchema, Runtime } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import { createServer } from "fairlead/server";
import { listen, nodePlatform } from "fairlead/server/node";
import { STREAMS } from "./streams.js";

// A server of the bench `http`: its first argument says which. It tells its URL, and its CPU time and memory when asked.

const ANSWER = { data: Buffer.from(JSON.stringify({ name: "Ada", count: 1 })), etag: "1" };
const message = create(GetStateResponseSchema, ANSWER);

const SERVERS: Record<string, () => Promise<string>> = {
  /** The whole reference server with its defaults. */
  async whole() {
    return (await listen(createServer({ platform: nodePlatform }), { port: 0 })).url;
  },

  /** Our unary path with nothing around a handler that does no work. */
  async echo() {
    const built = (name: string) =>
      import(new URL(`../../../dist/src/node-http/${name}.js`, import.meta.url).href);
    const { createUnaryHandler } = await built("unary/unary-handler");
    const { Http2Exchange } = await built("unary/exchange");
    const handler = createUnaryHandler(
      (router: import("@connectrpc/connect").ConnectRouter) =>
        router.rpc(Runtime.method.getState, () => message),
      {},
    );
    const server = createHttp2();
    server.on("stream", (stream, headers) => {
      const exchange = new Http2Exchange(stream, headers);
      const route = handler.route(exchange);
      if (route) handler.answer(route, exchange);
      else stream.respond({ ":status": 404 }, { endStream: true });
    });
    return listening(server);
  },

  /** grpc-js with a handler that does no work. */
  async "grpc-js"() {
    const server = new grpc.Server();
    server.addService(runtimeService(), {
      GetState: (_call: unknown, respond: (error: null, answer: unknown) => void) => respond(null, ANSWER),
    });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    return `http://127.0.0.1:${port}`;
  },

  /** node:http with the bytes of the answer in JSON. */
  "bare-http1"() {
    const body = Buffer.from(toJsonString(GetStateResponseSchema, message));
    const headers = { "content-type": "application/json", "content-length": body.length };
    const server = createHttp1((request, response) => {
      request.on("data", () => {});
      request.on("end", () => response.writeHead(200, headers).end(body));
    });
    return listening(server);
  },

  /** node:http2 with the bytes of the answer in binary. */
  "bare-http2"() {
    const body = Buffer.from(toBinary(GetStateResponseSchema, message));
    const server = createHttp2();
    server.on("stream", (stream: ServerHttp2Stream) => {
      stream.on("data", () => {});
      stream.on("end", () => {
        stream.respond({ ":status": 200, "content-type": "application/proto" });
        stream.end(body);
      });
    });
    return listening(server);
  },
  /** node:http2 with the frames of a log's records: those of the path, each in a write of its own. */
  "bare-stream"() {
    const server = createHttp2();
    server.on("stream", async (stream: ServerHttp2Stream, headers) => {
      const { count, bytes } = STREAMS[headers["fairlead-log"] as keyof typeof STREAMS];
      const frame = Buffer.alloc(5 + bytes);
      frame.writeUInt32BE(bytes, 1);
      stream.resume();
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      for (let i = 0; i < count; i++) {
        if (!stream.write(frame)) await once(stream, "drain");
      }
      stream.end();
    });
    return listening(server);
  },
};

function runtimeService(): grpc.ServiceDefinition {
  const proto = fileURLToPath(new URL("../../../proto", import.meta.url));
  const loaded = loadSync("spec/proto/runtime/v1/runtime.proto", { includeDirs: [proto] });
  return loaded["spec.proto.runtime.v1.Runtime"] as grpc.ServiceDefinition;
}

function listening(server: NetServer | ReturnType<typeof createHttp2>): Promise<string> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    });
  });
}

const start = SERVERS[process.argv[2] ?? ""];
if (!start)
  throw new Error(`There is no server ${process.argv[2]}: they are ${Object.keys(SERVERS).join(", ")}`);
const url = await start();
process.on("message", (question) => {
  const { user, system } = process.cpuUsage();
  if (question === "memory") (globalThis as { gc?: () => void }).gc?.();
  process.send?.(question === "memory" ? process.memoryUsage.rss() : user + system);
});
process.send?.(url);
