import assert from "node:assert/strict";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { test } from "vitest";
import { PutFileRequestSchema, SaveStateRequestSchema } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { encodeMessage } from "../../src/tunnel/wire/encode.js";
import { blob, openEnds } from "./ends.js";

const large = (length = 16 * 1024) => Uint8Array.from({ length }, (_, i) => i % 251);

const whole = ({ bytes, tail = new Uint8Array() }: ReturnType<typeof encodeMessage>) =>
  Uint8Array.from([...bytes, ...tail]);

test("a large field is not copied, and the encoded message is the same", () => {
  const data = large();
  const message = create(PutFileRequestSchema, { storeName: "s", name: "n", metadata: { a: "b" }, data });
  const encoded = encodeMessage(PutFileRequestSchema, message);
  assert.equal(encoded.tail, data);
  assert.deepEqual(fromBinary(PutFileRequestSchema, whole(encoded)), message);
  assert.equal(message.data, data);
});

test("unknown fields of a message with a large field are encoded", () => {
  const unknown = Uint8Array.from([0xf2, 0x7f, 2, 104, 105]);
  const bytes = Uint8Array.from([
    ...toBinary(PutFileRequestSchema, create(PutFileRequestSchema, { data: large() })),
    ...unknown,
  ]);
  const message = fromBinary(PutFileRequestSchema, bytes);
  assert.equal(message.$unknown?.length, 1);
  const again = fromBinary(PutFileRequestSchema, whole(encodeMessage(PutFileRequestSchema, message)));
  assert.deepEqual(again, message);
});

test("small fields and nested messages are encoded by toBinary()", () => {
  const small = create(PutFileRequestSchema, { name: "n", data: large(16 * 1024 - 1) });
  assert.deepEqual(encodeMessage(PutFileRequestSchema, small), {
    bytes: toBinary(PutFileRequestSchema, small),
  });
  const deep = create(SaveStateRequestSchema, { states: [{ key: "k", value: large() }] });
  assert.deepEqual(encodeMessage(SaveStateRequestSchema, deep), {
    bytes: toBinary(SaveStateRequestSchema, deep),
  });
});

test("an app may reuse its buffer when the next message is requested", async () => {
  let wrong = 0;
  let count = 0;
  const ends = openEnds(
    {},
    {
      serves: {
        async client(pieces) {
          for await (const { value } of pieces) {
            if (!value.every((byte) => byte === count % 256)) wrong++;
            count++;
          }
          return blob(0);
        },
      },
    },
  );
  await ends.dialler.ready;
  const buffer = new Uint8Array(40_000);
  await ends.dialler.client.client(
    (async function* () {
      for (let i = 0; i < 100; i++) {
        buffer.fill(i);
        yield { value: buffer };
      }
    })(),
  );
  assert.deepEqual({ wrong, count }, { wrong: 0, count: 100 });
  ends.close();
});
