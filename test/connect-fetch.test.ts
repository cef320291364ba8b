import assert from "node:assert/strict";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, type ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { GetFileResponseSchema, Runtime } from "../gen/spec/proto/runtime/v1/runtime_pb.js";
import { later } from "../src/internal/later.js";
import { createWebTransport } from "../src/transport/web.js";
import { openHere } from "./doors.js";

/** A client whose server answers every request as `answer` does. */
function answered(answer: (request: Request) => Response | Promise<Response>, transportOptions = {}) {
  const fetch: typeof globalThis.fetch = async (input, init) => answer(new Request(input, init));
  return createClient(Runtime, createWebTransport("http://server.example/", { fetch, ...transportOptions }));
}

const PROTO = { "content-type": "application/proto" };
const STREAM = { "content-type": "application/connect+proto" };

function envelope(flags: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + data.length);
  bytes[0] = flags;
  new DataView(bytes.buffer).setUint32(1, data.length);
  bytes.set(data, 5);
  return bytes;
}

const piece = (text: string) =>
  envelope(0, toBinary(GetFileResponseSchema, create(GetFileResponseSchema, { data: Buffer.from(text) })));
const end = (json: unknown) => envelope(2, Buffer.from(JSON.stringify(json)));
const streamed = (...parts: Uint8Array[]) =>
  new Response(Buffer.concat(parts), { headers: { ...STREAM, "x-of": "header" } });

async function texts(messages: AsyncIterable<{ data: Uint8Array }>): Promise<string[]> {
  const all: string[] = [];
  for await (const { data } of messages) all.push(Buffer.from(data).toString());
  return all;
}

describe("Connect over fetch", () => {
  test("a call is a POST of the binary message, with Connect's headers, the deadline and the caller's own", async () => {
    let seen: Request | undefined;
    const client = answered((request) => {
      seen = request;
      return new Response(new Uint8Array(), { headers: PROTO });
    });
    await client.sayHello({ name: "Ada" }, { timeoutMs: 1234, headers: { "x-own": "1" } });
    assert.equal(seen?.url, "http://server.example/spec.proto.runtime.v1.Runtime/SayHello");
    assert.equal(seen.method, "POST");
    assert.equal(seen.redirect, "error");
    assert.equal(seen.headers.get("content-type"), "application/proto");
    assert.equal(seen.headers.get("connect-protocol-version"), "1");
    assert.equal(seen.headers.get("connect-timeout-ms"), "1234");
    assert.equal(seen.headers.get("x-own"), "1");
  });

  test("the transport's own deadline holds where a call has none, and 0 takes it away", async () => {
    const seen: (string | null)[] = [];
    const answer = (request: Request) => {
      seen.push(request.headers.get("connect-timeout-ms"));
      return new Response(new Uint8Array(), { headers: PROTO });
    };
    const client = answered(answer, { defaultTimeoutMs: 777 });
    await client.sayHello({});
    await client.sayHello({}, { timeoutMs: 0 });
    assert.deepEqual(seen, ["777", null]);
  });

  test("trailers of a unary answer come apart from its headers", async () => {
    const client = answered(
      () => new Response(new Uint8Array(), { headers: { ...PROTO, "x-a": "1", "trailer-x-b": "2" } }),
    );
    let header: Headers | undefined;
    let trailer: Headers | undefined;
    await client.sayHello(
      {},
      {
        onHeader: (h) => {
          header = h;
        },
        onTrailer: (t) => {
          trailer = t;
        },
      },
    );
    assert.equal(header?.get("x-a"), "1");
    assert.equal(header?.has("trailer-x-b"), false);
    assert.equal(trailer?.get("x-b"), "2");
  });

  test("a unary error carries its code, message, details and the answer's headers", async () => {
    const body = { code: "aborted", message: "no", details: [{ type: "some.Type", value: "AQI" }] };
    const client = answered(() => Response.json(body, { status: 409, headers: { "x-a": "1" } }));
    await assert.rejects(client.sayHello({}), (error: ConnectError) => {
      const { code, rawMessage, details, metadata } = error;
      assert.deepEqual([code, rawMessage, metadata.get("x-a")], [Code.Aborted, "no", "1"]);
      assert.deepEqual(details, [{ type: "some.Type", value: new Uint8Array([1, 2]), debug: undefined }]);
      return true;
    });
  });

  test("an answer that no Connect server gives is read by its HTTP status, or refused by its type", async () => {
    const away = answered(() => new Response("<h1>Bad gateway</h1>", { status: 502 }));
    await assert.rejects(away.sayHello({}), { code: Code.Unavailable, rawMessage: "HTTP 502" });
    const page = answered(
      () => new Response("<h1>Welcome</h1>", { headers: { "content-type": "text/html" } }),
    );
    await assert.rejects(page.sayHello({}), { code: Code.Unknown, rawMessage: /unsupported content type/ });
    const garbage = answered(() => new Response(new Uint8Array([255, 255, 255]), { headers: PROTO }));
    await assert.rejects(garbage.sayHello({}), { code: Code.Internal, rawMessage: /^parse binary: / });
  });

  test("a message that does not fit its schema is told before anything is sent", async () => {
    const client = answered(() => assert.fail("sent"));
    await assert.rejects(client.listFile({ pageSize: 0.5 }), {
      code: Code.Internal,
      rawMessage: /^serialize binary: /,
    });
  });

  test("a stream yields its messages, and its end fills the trailers", async () => {
    const client = answered(() => streamed(piece("a"), piece("b"), end({ metadata: { "x-t": ["1", "2"] } })));
    let trailer: Headers | undefined;
    const onTrailer = (t: Headers) => {
      trailer = t;
    };
    assert.deepEqual(await texts(client.getFile({}, { onTrailer })), ["a", "b"]);
    assert.equal(trailer?.get("x-t"), "1, 2");
  });

  test("a stream's error comes after what was sent before it, with headers and trailers as its metadata", async () => {
    const error = { code: "not_found", message: "gone" };
    const client = answered(() => streamed(piece("a"), end({ error, metadata: { "x-t": ["1"] } })));
    const messages = client.getFile({})[Symbol.asyncIterator]();
    assert.equal(Buffer.from((await messages.next()).value.data).toString(), "a");
    await assert.rejects(messages.next(), ({ code, metadata }: ConnectError) => {
      assert.deepEqual([code, metadata.get("x-t"), metadata.get("x-of")], [Code.NotFound, "1", "header"]);
      return true;
    });
  });

  test("a stream that stops without its end, within a message, or compressed is an error", async () => {
    const cut = answered(() => streamed(piece("a")));
    await assert.rejects(texts(cut.getFile({})), { rawMessage: "missing EndStreamResponse" });
    const within = answered(() => streamed(piece("abc").subarray(0, 7)));
    await assert.rejects(texts(within.getFile({})), { rawMessage: /incomplete envelope/ });
    const packed = answered(() => streamed(envelope(1, new Uint8Array(2))));
    await assert.rejects(texts(packed.getFile({})), { code: Code.Internal, rawMessage: /compressed/ });
  });
});

describe("what is loaded with the first call", () => {
  test("a transport that could not be loaded is unavailable, and loaded by the next call", async () => {
    await using here = await openHere();
    let tries = 0;
    const transport = later(async (): Promise<Transport> => {
      tries += 1;
      if (tries === 1) throw new TypeError("Failed to fetch dynamically imported module");
      return here.transport;
    });
    const client = createClient(Runtime, transport);
    await assert.rejects(client.sayHello({}), {
      code: Code.Unavailable,
      rawMessage: "cannot load the transport",
    });
    assert.equal((await client.sayHello({ serviceName: "helloworld", name: "Ada" })).hello, "Hello, Ada");
    await client.sayHello({ serviceName: "helloworld" });
    assert.equal(tries, 2);
  });
});
