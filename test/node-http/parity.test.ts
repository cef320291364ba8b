import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, describe, test } from "vitest";
import { LOOK, openEcho, SAY, type SayImpl } from "./echo-server.js";
import { envelope, type RawAnswer, type RawQuestion, rawHttp1, rawHttp2 } from "./raw-http.js";

// Every question goes to two servers: one with the unary handler in front, and one with Connect's own handlers only.

/** StringValue with the text "hi", as binary and as JSON. */
const BINARY = Buffer.from([0x0a, 2, 0x68, 0x69]);
const JSON_TEXT = Buffer.from('"hi"');

interface Asked extends RawQuestion {
  /** The versions of HTTP. Default: both. */
  over?: readonly ("1.1" | "2")[];
  /** Whether the unary handler leaves it to Connect's handlers. */
  isLeft?: boolean;
}

const connect = (headers: RawQuestion["headers"] = {}, body: RawQuestion["body"] = [BINARY]): Asked => ({
  path: SAY,
  headers: { "content-type": "application/proto", ...headers },
  body,
});
const connectJson = (headers: RawQuestion["headers"] = {}, body: RawQuestion["body"] = [JSON_TEXT]) =>
  connect({ "content-type": "application/json", ...headers }, body);
const grpc = (
  headers: RawQuestion["headers"] = {},
  body: RawQuestion["body"] = [envelope(BINARY)],
): Asked => ({
  ...connect({ "content-type": "application/grpc", te: "trailers", ...headers }, body),
  over: ["2"],
});
const grpcWeb = (headers: RawQuestion["headers"] = {}, body: RawQuestion["body"] = [envelope(BINARY)]) =>
  connect({ "content-type": "application/grpc-web+proto", ...headers }, body);
const get = (query: string, headers: RawQuestion["headers"] = {}, path = LOOK): Asked => ({
  path: `${path}${query}`,
  method: "GET",
  headers,
});
const left = (asked: Asked): Asked => ({ ...asked, isLeft: true });

const gzipped = gzipSync(BINARY);
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");

const QUESTIONS: Record<string, Asked> = {
  "an unknown content type": left(connect({ "content-type": "text/plain" })),
  "no content type": left({ path: SAY, body: [BINARY] }),
  "a content type in another spelling": left(connectJson({ "content-type": "Application/JSON" })),
  "a content type with parameters": left(connectJson({ "content-type": "application/json; charset=latin1" })),
  "JSON with its charset": connectJson({ "content-type": "application/json; charset=utf-8" }),
  "Connect, an unknown compression": left(connect({ "content-encoding": "zstd" })),
  "gRPC, an unknown compression": left(grpc({ "grpc-encoding": "zstd" })),
  "gRPC-Web, an unknown compression": left(grpcWeb({ "grpc-encoding": "zstd" })),
  "Connect, a compression that is named and not used": connect({ "content-encoding": "gzip" }),
  "Connect, identity": connect({ "content-encoding": "identity" }),
  "Connect, an unknown compression accepted": connect({ "accept-encoding": "zstd, deflate" }),
  "Connect, the second one accepted is ours": connect({ "accept-encoding": "zstd, br" }),
  "Connect, identity before ours": connect({ "accept-encoding": "identity, gzip" }),
  "gRPC, several accepted": grpc({ "grpc-accept-encoding": "identity,deflate,gzip" }),
  "gRPC, none accepted": grpc({ "grpc-accept-encoding": "" }),
  "gRPC, compressed without an accepted one": grpc({ "grpc-encoding": "gzip" }, [envelope(gzipped, 1)]),
  "Connect, compressed without an accepted one": connect({ "content-encoding": "gzip" }, [gzipped]),
  "Connect, a malformed timeout": left(connect({ "connect-timeout-ms": "soon" })),
  "Connect, a negative timeout": left(connect({ "connect-timeout-ms": "-1" })),
  "Connect, no time at all": connect({ "connect-timeout-ms": "0" }),
  "Connect, a timeout above the longest": left(connect({ "connect-timeout-ms": "300000000" })),
  "gRPC, a timeout above the longest": left(grpc({ "grpc-timeout": "300000S" })),
  "gRPC, a malformed timeout": left(grpc({ "grpc-timeout": "5X" })),
  "gRPC, a timeout of nine digits": left(grpc({ "grpc-timeout": "123456789m" })),
  "gRPC, a long timeout": grpc({ "grpc-timeout": "99999999m" }),
  "gRPC-Web, a malformed timeout": left(grpcWeb({ "grpc-timeout": "x" })),
  "Connect, a binary message that is none": connect({}, [Buffer.from([0x0a, 200])]),
  "Connect, JSON that is none": connectJson({}, ["{"]),
  "Connect, JSON of another type": connectJson({}, ["17"]),
  "Connect, no JSON": connectJson({}, []),
  "Connect, no binary message": connect({}, []),
  "gRPC, JSON that is none": grpc({ "content-type": "application/grpc+json" }, [envelope(Buffer.from("{"))]),
  "GET, base64": get(`?encoding=proto&base64=1&message=${base64(BINARY)}`),
  "GET, plain JSON": get(`?connect=v1&encoding=json&message=${encodeURIComponent('"a b+c=ü"')}`),
  "GET, JSON in base64": get(`?encoding=json&base64=1&message=${base64(JSON_TEXT)}`),
  "GET, compressed": get(`?encoding=proto&base64=1&compression=gzip&message=${base64(gzipped)}`),
  "GET, a response compressed": get(`?encoding=json&message=%22hi%22`, { "accept-encoding": "gzip" }),
  "GET, not compressed as it says": get(
    `?encoding=proto&base64=1&compression=gzip&message=${base64(BINARY)}`,
  ),
  "GET, an unknown compression": left(get("?encoding=json&compression=zstd&message=%22hi%22")),
  "GET, no message": get("?encoding=proto"),
  "GET, no message in JSON": get("?encoding=json"),
  "GET, no encoding": left(get("?message=%22hi%22")),
  "GET, an unknown encoding": left(get("?encoding=xml&message=%22hi%22")),
  "GET, no query": left(get("")),
  "GET, a message that is no base64": left(get("?encoding=proto&base64=1&message=*")),
  "GET, of a method with side effects": left(get("?encoding=json&message=%22hi%22", {}, SAY)),
  "GET, with a content type": left(
    get("?encoding=json&message=%22hi%22", { "content-type": "application/json" }),
  ),
  "GET, a malformed timeout": left(get("?encoding=json&message=%22hi%22", { "connect-timeout-ms": "x" })),
  "gRPC over HTTP/1.1": left({ ...grpc(), over: ["1.1"] }),
  HEAD: left({ path: LOOK, method: "HEAD" }),
  PUT: left({ ...connect(), method: "PUT" }),
  "PUT of gRPC": left({ ...grpc(), method: "PUT" }),
  "an unknown method": left({ ...connect(), path: "/test.Echo/None" }),
  "a streaming method": left({
    ...connect({ "content-type": "application/connect+proto" }, [envelope(BINARY)]),
    path: "/test.Echo/Tell",
  }),
  "a streaming method as if it were unary": left({ ...connect(), path: "/test.Echo/Tell" }),
  "a unary method as if it streamed": left(connect({ "content-type": "application/connect+proto" })),
  "a path with a query": { ...connect(), path: `${SAY}?x=1` },
  "a message in small parts": connect(
    {},
    [...BINARY].map((byte) => Buffer.from([byte])),
  ),
  "an envelope in small parts": grpc(
    {},
    [...envelope(BINARY)].map((byte) => Buffer.from([byte])),
  ),
  "gRPC, no message": grpc({}, []),
  "gRPC, half an envelope": grpc({}, [Buffer.from([0, 0, 0])]),
  "gRPC, two messages": grpc({}, [envelope(BINARY), envelope(BINARY)]),
  "gRPC, compressed without an encoding": grpc({}, [envelope(gzipped, 1)]),
  "gRPC, not compressed as it says": grpc({ "grpc-encoding": "gzip" }, [envelope(BINARY, 1)]),
  "gRPC, an empty message": grpc({}, [envelope(Buffer.alloc(0))]),
  "gRPC-Web, no message": grpcWeb({}, []),
  "gRPC-Web, half an envelope": grpcWeb({}, [Buffer.from([0, 0, 0])]),
  "gRPC-Web, two messages": grpcWeb({}, [envelope(BINARY), envelope(BINARY)]),
  "gRPC-Web, compressed without an encoding": grpcWeb({}, [envelope(gzipped, 1)]),
};

/** Headers that differ between two responses, or that only an admitted call has. */
const IGNORED = new Set(["date", "x-call", "keep-alive", "connection", "transfer-encoding"]);

const comparable = (headers: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !IGNORED.has(name))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );

function readable({ status, headers, trailers, body }: RawAnswer) {
  const isWeb = String(headers["content-type"]).startsWith("application/grpc-web");
  const text = body.toString("latin1");
  return {
    status,
    headers: comparable(headers),
    trailers: comparable(trailers),
    // The order of the trailers in the body means nothing.
    body: isWeb ? text.split("\r\n").sort() : text,
  };
}

const say: SayImpl = (text, { responseHeader, responseTrailer }) => {
  responseHeader.set("x-head", "one");
  responseTrailer.set("x-tail", "two");
  if (text === "fail") throw new ConnectError("no: 100 %", Code.NotFound, { "x-meta": "three" });
  return text;
};

for (const over of ["1.1", "2"] as const) {
  describe(`over HTTP/${over}`, async () => {
    const options = { say, compressMinBytes: 0, readMaxBytes: 10_000, maxTimeoutMs: 200_000_000 };
    const fast = await openEcho(options);
    const reference = await openEcho({ ...options, isReference: true });
    const raw = over === "2" ? rawHttp2 : rawHttp1;
    const clients = [raw(fast.url), raw(reference.url)] as const;
    afterAll(async () => {
      for (const client of clients) client[Symbol.dispose]();
      await Promise.all([fast[Symbol.asyncDispose](), reference[Symbol.asyncDispose]()]);
    });
    const fail = Buffer.from([0x0a, 4, ...Buffer.from("fail")]);
    const all: Record<string, Asked> = {
      ...QUESTIONS,
      "Connect, an error": connect({}, [fail]),
      "Connect, an error, compressed": connect({ "accept-encoding": "gzip" }, [fail]),
      "gRPC, an error": grpc({}, [envelope(fail)]),
      "gRPC, an error, compressed": grpc({ "grpc-accept-encoding": "br" }, [envelope(fail)]),
      "gRPC-Web, an error": grpcWeb({}, [envelope(fail)]),
      "gRPC-Web, an error, compressed": grpcWeb({ "grpc-accept-encoding": "gzip" }, [envelope(fail)]),
    };
    for (const [name, { over: versions = ["1.1", "2"], isLeft = false, ...question }] of Object.entries(
      all,
    )) {
      if (!versions.includes(over)) continue;
      test(name, async () => {
        const before = fast.counts.admitted;
        const [actual, expected] = await Promise.all(clients.map((ask) => ask(question).answer));
        assert.deepEqual(readable(actual as RawAnswer), readable(expected as RawAnswer));
        assert.equal(fast.counts.admitted - before, isLeft ? 0 : 1, "who answers");
      });
    }
  });
}
