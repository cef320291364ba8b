import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { openHere, overHttp } from "../doors.js";
import { failure } from "./failure.js";

const helloworld = "helloworld";

test('SayHello: hello is "Hello, <name>" from the configured instance', async () => {
  await using at = await openHere({ config: { hello: { helloworld: {}, other: { greeting: "Hi" } } } });
  const runtime = createClient(Runtime, at.transport);
  assert.equal((await runtime.sayHello({ serviceName: helloworld, name: "Ada" })).hello, "Hello, Ada");
  assert.equal((await runtime.sayHello({ serviceName: "other", name: "Ada" })).hello, "Hi, Ada");
  assert.equal((await runtime.sayHello({ serviceName: helloworld })).hello, "Hello");
});

test("SayHello: data echoed, whatever its type says and its bytes are", async () => {
  await using at = await openHere();
  const runtime = createClient(Runtime, at.transport);
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (const data of [
    { typeUrl: "", value: all },
    { typeUrl: "example.com/no.such.Type", value: all },
    { typeUrl: "type.googleapis.com/google.protobuf.BytesValue", value: new Uint8Array([10, 1, 7]) },
    { typeUrl: "", value: new Uint8Array() },
  ]) {
    const { data: echoed } = await runtime.sayHello({ serviceName: helloworld, data });
    assert.deepEqual({ typeUrl: echoed?.typeUrl, value: echoed?.value }, data);
  }
  assert.equal((await runtime.sayHello({ serviceName: helloworld })).data, undefined);
});

test("SayHello: data without a type is echoed over JSON too, which has no form for it", async () => {
  await using at = await overHttp((url) => createNodeTransport(url, { json: true }))();
  const runtime = createClient(Runtime, at.transport);
  const data = { typeUrl: "", value: new Uint8Array([0, 255, 7]) };
  const { data: echoed } = await runtime.sayHello({ serviceName: helloworld, data });
  assert.deepEqual({ typeUrl: echoed?.typeUrl, value: echoed?.value }, data);
});

test("SayHello: the error for an unknown instance tells the kind and the name", async () => {
  await using at = await openHere();
  const runtime = createClient(Runtime, at.transport);
  for (const serviceName of ["nope", "__proto__", "constructor"]) {
    const error = await failure(runtime.sayHello({ serviceName }));
    assert.equal(error.code, Code.InvalidArgument);
    assert.deepEqual(error.findDetails(ErrorInfoSchema)[0]?.metadata, { kind: "hello", name: serviceName });
  }
  assert.equal((await failure(runtime.sayHello({ serviceName: "" }))).code, Code.InvalidArgument);
});
