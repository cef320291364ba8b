import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { describe, test } from "vitest";
import { type ConfigInput, createServer } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";

const root = join(import.meta.dirname, "../..");

/** Foreign clients against a server on a port. */
async function open(config?: ConfigInput) {
  const server = createServer({ platform: nodePlatform, ...(config && { config }) });
  return listen(server, { port: 0 });
}

describe("buf curl", () => {
  const buf = join(root, "node_modules/.bin/buf");

  /** Calls the method and parses the responses from JSON. If the call fails, rejects with the output of buf. */
  async function curl(url: string, protocol: string, method: string, ...messages: object[]) {
    const args = ["curl", "--schema", join(root, "proto"), "--protocol", protocol, "--data", "@-"];
    if (protocol !== "connect") args.push("--http2-prior-knowledge");
    const run = promisify(execFile)(buf, [...args, `${url}/${method}`]);
    run.child.stdin?.end(messages.map((message) => JSON.stringify(message)).join("\n"));
    const { stdout } = await run;
    return stdout
      .split(/\n(?=\{)/)
      .filter((text) => text.trim())
      .map((text) => JSON.parse(text) as Record<string, unknown>);
  }

  for (const protocol of ["connect", "grpc", "grpcweb"]) {
    test(`${protocol}: unary, both streams, and an error with its details`, async () => {
      await using at = await open();
      const call = (method: string, ...messages: object[]) =>
        curl(at.url, protocol, `spec.proto.runtime.v1.Runtime/${method}`, ...messages);
      const [hello] = await call("SayHello", { serviceName: "helloworld", name: "Ada" });
      assert.equal(hello?.["hello"], "Hello, Ada");

      const file = { storeName: "default", name: "a/b.txt" };
      const part = (text: string) => ({ data: Buffer.from(text).toString("base64") });
      await call("PutFile", { ...file, ...part("one ") }, part("two"));
      const chunks = await call("GetFile", file);
      const text = chunks.map(({ data }) => Buffer.from(String(data), "base64").toString()).join("");
      assert.equal(text, "one two");

      const failed: unknown = await call("GetState", { storeName: "nope", key: "k" }).catch((error) => error);
      const { stderr } = failed as { stderr: string };
      assert.match(stderr, /invalid_argument/);
      assert.match(stderr, /configured: \\"default\\"/);
      assert.match(stderr, /ErrorInfo/);
    });
  }

  test("grpc: a bidirectional stream ends when the client has ended its half", async () => {
    await using at = await open();
    const initialRequest = { pubsubName: "default", topic: "orders" };
    const method = "spec.proto.runtime.v1.Runtime/SubscribeTopicEvents";
    assert.deepEqual(await curl(at.url, "grpc", method, { initialRequest }), [{ initialResponse: {} }]);
  });

  test("connect over HTTP/1.1 and HTTP/2 reach the same port", async () => {
    await using at = await open();
    const response = await fetch(`${at.url}/healthz`);
    assert.deepEqual(await response.json(), { status: "ok" });
    const produced = await curl(at.url, "grpc", "atomix.log.LogService/Produce", { value: "aGk=" });
    assert.deepEqual(produced, [{}]);
  });
});

describe("grpc-js", () => {
  const files = ["runtime", "appcallback"].map((name) => `spec/proto/runtime/v1/${name}.proto`);
  const loaded = loadSync(files, {
    includeDirs: [join(root, "proto")],
    longs: String,
    enums: String,
    defaults: true,
  });
  const { spec } = grpc.loadPackageDefinition(loaded) as unknown as {
    spec: {
      proto: {
        runtime: { v1: { Runtime: typeof RuntimeClient; AppCallback: { service: grpc.ServiceDefinition } } };
      };
    };
  };
  const { Runtime, AppCallback } = spec.proto.runtime.v1;

  function dial(url: string) {
    return new Runtime(new URL(url).host, grpc.credentials.createInsecure());
  }

  test("unary calls, a conflict's code, and its details in the trailers", async () => {
    await using at = await open();
    const client = dial(at.url);
    const save = promisify(client.saveState.bind(client));
    const get = promisify(client.getState.bind(client));
    await save({ storeName: "default", states: [{ key: "k", value: Buffer.from("v") }] });
    const { data, etag } = await get({ storeName: "default", key: "k" });
    assert.equal(String(data), "v");
    assert.match(String(etag), /^\d+$/);
    const stale = save({ storeName: "default", states: [{ key: "k", etag: { value: "999" } }] });
    const error = (await stale.catch((error: unknown) => error)) as grpc.ServiceError;
    assert.equal(error.code, grpc.status.ABORTED);
    assert.equal(error.metadata.get("grpc-status-details-bin").length, 1);
    client.close();
  });

  test("a client stream and a server stream", async () => {
    await using at = await open();
    const client = dial(at.url);
    const bytes = Buffer.alloc(300_000, "fairlead");
    await new Promise((resolve, reject) => {
      const call = client.putFile((error: unknown, answer: unknown) =>
        error ? reject(error) : resolve(answer),
      );
      call.write({ storeName: "default", name: "f", data: bytes.subarray(0, 100_000) });
      call.write({ data: bytes.subarray(100_000) });
      call.end();
    });
    const chunks: Buffer[] = [];
    for await (const { data } of client.getFile({ storeName: "default", name: "f" })) chunks.push(data);
    assert.deepEqual(Buffer.concat(chunks), bytes);
    assert.ok(chunks.every((chunk) => chunk.length <= 64 * 1024));
    client.close();
  });

  test("events on a bidirectional stream, acknowledged one by one", async () => {
    await using at = await open();
    const client = dial(at.url);
    const stream = client.subscribeTopicEvents();
    stream.write({ initialRequest: { pubsubName: "default", topic: "orders" } });
    const publish = promisify(client.publishEvent.bind(client));
    const events: string[] = [];
    for await (const { initialResponse, eventMessage } of stream) {
      if (initialResponse) {
        for (const text of ["a", "b"]) {
          await publish({ pubsubName: "default", topic: "orders", data: Buffer.from(text) });
        }
      } else {
        events.push(String(eventMessage?.data));
        stream.write({ eventProcessed: { id: eventMessage?.id, status: { status: "SUCCESS" } } });
        // After the client has ended its half, the server ends its own once every event is acknowledged.
        if (events.length === 2) stream.end();
      }
    }
    assert.deepEqual(events, ["a", "b"]);
    client.close();
  });

  test("an app that serves AppCallback with grpc-js lists its topics and receives events", async () => {
    const app = new grpc.Server();
    const told = new Promise<string>((resolve) => {
      app.addService(AppCallback.service, {
        listTopicSubscriptions: (_call: unknown, done: grpc.sendUnaryData<object>) =>
          done(null, { subscriptions: [{ pubsubName: "default", topic: "orders" }] }),
        onTopicEvent: (call: { request: { data: Buffer } }, done: grpc.sendUnaryData<object>) => {
          resolve(String(call.request.data));
          done(null, { status: "SUCCESS" });
        },
      });
    });
    const port = await promisify(app.bindAsync.bind(app))(
      "127.0.0.1:0",
      grpc.ServerCredentials.createInsecure(),
    );
    await using at = await open({ apps: { billing: { url: `http://127.0.0.1:${port}` } } });
    const client = dial(at.url);
    const publish = promisify(client.publishEvent.bind(client));
    // The group starts when the app has responded; earlier events are not kept for it.
    let heard = false;
    void told.then(() => {
      heard = true;
    });
    while (!heard) await publish({ pubsubName: "default", topic: "orders", data: Buffer.from("hi") });
    assert.equal(await told, "hi");
    client.close();
    app.forceShutdown();
  });
});

/** The part of the grpc-js client that this test uses. */
declare class RuntimeClient extends grpc.Client {
  saveState(request: object, done: Answer): void;
  getState(request: object, done: Answer): void;
  publishEvent(request: object, done: Answer): void;
  putFile(done: Answer): grpc.ClientWritableStream<object>;
  getFile(request: object): grpc.ClientReadableStream<{ data: Buffer }>;
  subscribeTopicEvents(): grpc.ClientDuplexStream<
    object,
    { initialResponse?: object; eventMessage?: { id: string; data: Buffer } }
  >;
}

type Answer = (error: grpc.ServiceError | null, answer: Record<string, unknown>) => void;
