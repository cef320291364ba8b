import assert from "node:assert/strict";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { encodeEnvelope } from "@connectrpc/connect/protocol";
import { test } from "vitest";
import {
  type PutFileRequest,
  PutFileRequestSchema,
  Runtime,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { UncopiedMessages } from "../../src/rpc/uncopied-messages.js";
import { listen } from "../../src/server/http/listen.js";
import { nodePlatform } from "../../src/server/node-platform.js";
import { createServer } from "../../src/server/server.js";
import { createNodeTransport } from "../../src/transport/node.js";

const large = (length = 16 * 1024) => Uint8Array.from({ length }, (_, i) => i % 251);

async function* all<T>(...values: T[]) {
  yield* values;
}

/** The chunks that Connect would make of `messages`, each as it is joined. */
async function sent(uncopied: UncopiedMessages, ...messages: PutFileRequest[]) {
  const joined = [];
  for await (const message of uncopied.split(PutFileRequestSchema, all(...messages))) {
    joined.push(uncopied.join(encodeEnvelope(0, toBinary(PutFileRequestSchema, message as PutFileRequest))));
  }
  return joined;
}

test("a large field is sent as it is, in an envelope with the length of both parts", async () => {
  const message = create(PutFileRequestSchema, { storeName: "s", name: "n", data: large() });
  const [[head, bytes] = []] = await sent(new UncopiedMessages(), message);
  assert.equal(bytes, message.data);
  const whole = Buffer.concat([head as Uint8Array, bytes as Uint8Array]);
  assert.equal(whole[0], 0);
  assert.equal(whole.readUInt32BE(1), whole.length - 5);
  assert.deepEqual(fromBinary(PutFileRequestSchema, new Uint8Array(whole.subarray(5))), message);
});

test("small messages and the end of the stream are sent as Connect encodes them", async () => {
  const uncopied = new UncopiedMessages();
  const small = create(PutFileRequestSchema, { name: "n", data: large(100) });
  const [first, second] = await sent(uncopied, small, create(PutFileRequestSchema, { data: large() }));
  assert.deepEqual(first, [encodeEnvelope(0, toBinary(PutFileRequestSchema, small))]);
  assert.equal(second?.length, 2);
  const end = encodeEnvelope(2, new Uint8Array(3));
  assert.deepEqual(uncopied.join(end), [end]);
});

test("the bytes that are still to be appended are counted", async () => {
  const uncopied = new UncopiedMessages();
  const messages = uncopied.split(
    PutFileRequestSchema,
    all(create(PutFileRequestSchema, { data: large(20_000) })),
  );
  await messages[Symbol.asyncIterator]().next();
  assert.equal(uncopied.pendingBytes, 20_000);
  uncopied.join(encodeEnvelope(0, new Uint8Array()));
  assert.equal(uncopied.pendingBytes, 0);
});

for (const protocol of ["connect", "grpc", "grpc-web"] as const) {
  for (const compression of [false, true]) {
    test(`a buffer may be written to again once the next message is asked for: ${protocol}, ${compression}`, async () => {
      await using server = await listen(createServer({ platform: nodePlatform }), { port: 0 });
      await using transport = createNodeTransport(server.url, { protocol, compression });
      const runtime = createClient(Runtime, transport);
      const sizes = [64 * 1024, 20, 17_000, 300_000, 64 * 1024];
      const expected: Uint8Array[] = [];
      await runtime.putFile(
        (async function* () {
          yield { storeName: "default", name: "f" };
          const buffer = new Uint8Array(Math.max(...sizes));
          for (const [i, size] of sizes.entries()) {
            const data = buffer.subarray(0, size).fill(i + 1);
            expected.push(data.slice());
            yield { data };
          }
        })(),
      );
      const received: Uint8Array[] = [];
      for await (const { data } of runtime.getFile({ storeName: "default", name: "f" })) received.push(data);
      assert.ok(Buffer.concat(expected).equals(Buffer.concat(received)));
    });
  }
}
