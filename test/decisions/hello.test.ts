import assert from "node:assert/strict";
import { createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { overHttp } from "../support/protocols.js";

const helloworld = "helloworld";

test("SayHello: data without a type is echoed over JSON too, which has no form for it", async () => {
  await using at = await overHttp((url) => createNodeTransport(url, { json: true }))();
  const runtime = createClient(Runtime, at.transport);
  const data = { typeUrl: "", value: new Uint8Array([0, 255, 7]) };
  const { data: echoed } = await runtime.sayHello({ serviceName: helloworld, data });
  assert.deepEqual({ typeUrl: echoed?.typeUrl, value: echoed?.value }, data);
});
