import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { failure } from "../decisions/failure.js";

const storeName = "default";

for (const [way, dial] of [
  ["gRPC", (baseUrl: string) => createGrpcTransport({ baseUrl })],
  ["the tunnel", (url: string) => createTunnelTransport(url)],
] as const) {
  test(`${way}: a file that is requested directly after its upload, on the same connection, exists`, async () => {
    const engine = memoryEngine();
    // As slow as a disk can be.
    const put: typeof engine.blobs.put = async (...args) => {
      await new Promise((resolve) => setTimeout(resolve, 150));
      return engine.blobs.put(...args);
    };
    const { list, get, stat, delete: remove } = engine.blobs;
    const blobs = {
      put,
      list: list.bind(engine.blobs),
      get: get.bind(engine.blobs),
      stat: stat.bind(engine.blobs),
      delete: remove.bind(engine.blobs),
    };
    const at = await listen(createServer({ engine: { ...engine, blobs } }), { port: 0 });
    const transport = dial(at.url);
    const runtime = createClient(Runtime, transport);
    await failure(runtime.getFileMeta({ request: { storeName, name: "none" } }));
    for (let i = 0; i < 10; i++) {
      const name = `f${i}`;
      const upload = async function* () {
        yield { storeName, name, data: new Uint8Array(1000) };
        yield { storeName, name, data: new Uint8Array(1000) };
      };
      const uploaded = runtime.putFile(upload());
      // The upload has been sent, and is not answered yet.
      await new Promise((resolve) => setTimeout(resolve, i));
      let bytes = 0;
      for await (const { data } of runtime.getFile({ storeName, name })) bytes += data.length;
      assert.equal(bytes, 2000);
      assert.equal((await runtime.getFileMeta({ request: { storeName, name } })).size, 2000n);
      await uploaded;
    }
    // A file whose upload is still in progress does not exist, and GetFile does not wait for it.
    let send = () => {};
    const rest = new Promise<void>((resolve) => {
      send = resolve;
    });
    const half = async function* () {
      yield { storeName, name: "half", data: new Uint8Array(1000) };
      await rest;
      yield { storeName, name: "half", data: new Uint8Array(1000) };
    };
    const uploading = runtime.putFile(half());
    const askedMs = Date.now();
    const early = await failure(runtime.getFileMeta({ request: { storeName, name: "half" } }));
    assert.equal(early.code, Code.NotFound);
    assert.ok(Date.now() - askedMs < 2000, `${Date.now() - askedMs} ms`);
    send();
    await uploading;
    assert.equal((await runtime.getFileMeta({ request: { storeName, name: "half" } })).size, 2000n);

    const other = await failure(runtime.getFileMeta({ request: { storeName, name: "none" } }));
    assert.equal(other.code, Code.NotFound);
    await at.close();
    if ("close" in transport) await (transport as { close(): Promise<void> }).close();
  });
}
