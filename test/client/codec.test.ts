import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { describe, test } from "vitest";
import { z } from "zod";
import { SayHelloRequestSchema, SayHelloResponseSchema } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { bytes, createClient, type Fairlead, json, message, SchemaError, text } from "../../src/index.js";
import { utf8 } from "../../src/lib/utf8.js";
import { inProcess } from "../../src/server/index.js";

/** Values that JSON would lose or turn into something else, and what json() says of them. */
const lost: [unknown, RegExp][] = [
  [undefined, /cannot hold undefined$/],
  [() => 1, /cannot hold \[object Function\]$/],
  [Symbol("s"), /cannot hold Symbol\(s\)$/],
  [Number.NaN, /cannot hold NaN$/],
  [{ a: { b: Number.POSITIVE_INFINITY } }, /cannot hold Infinity at a\.b$/],
  [[1, undefined], /cannot hold undefined at 1$/],
  [[() => 1], /at 0$/],
  [10n, /cannot hold 10n: make it text$/],
  [{ n: [{ m: 10n }] }, /cannot hold 10n at n\.0\.m: make it text$/],
  [new Uint8Array([1]), /\[object Uint8Array\]: bytes\(\) takes a Uint8Array$/],
  [new Uint8Array(), /\[object Uint8Array\]: bytes\(\)/],
  [{ photo: Buffer.from("x") }, /\[object Uint8Array\] at photo: bytes\(\)/],
  [{ raw: new ArrayBuffer(1) }, /\[object ArrayBuffer\] at raw: bytes\(\)/],
  [new Blob(["x"]), /\[object Blob\]: read its bytes/],
  [new Map([["a", 1]]), /\[object Map\]: make it an array or an object$/],
  [{ tags: new Set(["a"]) }, /\[object Set\] at tags: make it an array or an object$/],
  [{ pattern: /x/ }, /\[object RegExp\] at pattern$/],
  [[Promise.resolve(1)], /\[object Promise\] at 0$/],
];

/** What comes back as it went, or as JSON has it. */
const kept: [unknown, unknown][] = [
  [null, null],
  [{}, {}],
  [
    [[], {}, null, ""],
    [[], {}, null, ""],
  ],
  [{ a: undefined, b: () => 1, c: 1 }, { c: 1 }],
  [{ at: new Date(0) }, { at: "1970-01-01T00:00:00.000Z" }],
  [{ site: new URL("http://x/") }, { site: "http://x/" }],
  [{ own: { toJSON: () => ({ n: 1 }) } }, { own: { n: 1 } }],
  [Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
  ["\ud800", "\ud800"],
];

describe("json()", () => {
  for (const [value, why] of lost) {
    test(`refuses what ${why.source} says`, () =>
      assert.throws(() => json().encode(value), { name: "TypeError", message: why }));
  }

  test("keeps what JSON can hold", () => {
    for (const [value, back] of kept) assert.deepEqual(json().decode(json().encode(value)), back);
  });

  test("tells of a cycle as JSON.stringify does", () => {
    const cycle: Record<string, unknown> = { n: 10n };
    cycle["self"] = cycle;
    assert.throws(() => json().encode(cycle), TypeError);
    const plain: unknown[] = [];
    plain.push(plain);
    assert.throws(() => json().encode(plain), /circular/i);
  });
});

test("text() takes well-formed strings only, bytes() Uint8Array only, message() messages of its type only", () => {
  assert.deepEqual(text().encode("ü"), utf8("ü"));
  assert.deepEqual(bytes().encode(Buffer.from("ü")), Buffer.from("ü"));
  for (const value of [
    undefined,
    null,
    5,
    {},
    ["a"],
    new Uint8Array(1),
    "\ud800",
    new String("x"),
  ] as never[]) {
    assert.throws(() => text().encode(value), /^TypeError: text\(\) takes /);
  }
  for (const value of [undefined, null, 5, {}, [1], "x", new ArrayBuffer(1), new Uint16Array(1)] as never[]) {
    assert.throws(() => bytes().encode(value), /^TypeError: bytes\(\) takes a Uint8Array, got /);
  }
  assert.throws(() => text().encode({} as never), /: use json\(\)$/);
  assert.throws(() => bytes().encode("x" as never), /: use text\(\)$/);
  const hello = message(SayHelloRequestSchema);
  const sent = create(SayHelloRequestSchema, { name: "Ada" });
  assert.equal(hello.decode(hello.encode(sent)).name, "Ada");
  for (const value of [undefined, null, "x", { name: "Ada" }, create(SayHelloResponseSchema)] as never[]) {
    assert.throws(
      () => hello.encode(value),
      /^TypeError: message\(\) takes a spec\.proto\.runtime\.v1\.SayHelloRequest, /,
    );
  }
});

/** A value without JSON form in each facade, and where the error must say that it was to go. */
const calls: Record<string, [(fl: Fairlead, value: unknown) => unknown, place: RegExp]> = {
  "state().set()": [(fl, value) => fl.state("carts").set("u1", value), /"u1" in state store "carts"/],
  "tx.set()": [
    (fl, value) => fl.state("carts").transaction((tx) => tx.set("u1", value)),
    /"u1" in state store "carts"/,
  ],
  "map().put()": [(fl, value) => fl.map("seats").put("12A", value), /"12A" in map "seats"/],
  "log().append()": [(fl, value) => fl.log("audit").append([value]), /log "audit"/],
  "publish()": [(fl, value) => fl.pubsub().publish("orders", value), /publish to "orders"/],
  "service().call()": [
    (fl, value) => fl.service("shop").call("/items", value),
    /"\/items" of service "shop"/,
  ],
  "gossip set()": [
    async (fl, value) => (await fl.openGossipMap("presence", { offline: true })).set("ada", value),
    /"ada" in gossip map "presence"/,
  ],
};

describe("a value without encoding fails with facade, key and codec", () => {
  for (const [name, [call, place]] of Object.entries(calls)) {
    test(name, async () => {
      const error = await (async () => call(createClient(inProcess()), { n: 10n }))().catch(
        (error: unknown) => error,
      );
      assert.ok(error instanceof TypeError, String(error));
      assert.match(error.message, place);
      assert.match(error.message, /as application\/json: json\(\) cannot hold 10n at n: make it text$/);
    });
  }

  test("a schema's failure stays one, and a codec that gives no bytes is told", async () => {
    const fl = createClient(inProcess());
    const carts = fl.state("carts", { schema: z.object({ n: z.number() }) });
    const failure = await carts.set("u1", { n: "x" } as never).catch((error: unknown) => error);
    assert.ok(failure instanceof SchemaError);
    assert.match(failure.message, /"u1" in state store "carts".* n: /);
    assert.equal(failure.issues.length, 1);
    const codec = { ...text(), encode: async () => utf8("x") } as never;
    await assert.rejects(
      fl.state("carts", { codec }).set("u1", 1),
      /must give a Uint8Array, got \[object Promise\]/,
    );
  });
});
