import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { Code } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { until } from "../support/until.js";
import { openEcho, SAY } from "./echo-server.js";
import { envelope, type RawAnswer, rawHttp1, rawHttp2 } from "./raw-http.js";

const BINARY = Buffer.from([0x0a, 2, 0x68, 0x69]);
const MAX_BYTES = 1000;
const TOO_LARGE = "is larger than configured readMaxBytes 1000";

interface Fault {
  body: readonly Uint8Array[];
  headers?: Record<string, string>;
  /** Whether the request ends; if not, it has to be answered all the same. */
  isWhole?: boolean;
  code: Code;
  text: string;
}

const gzip = { "grpc-encoding": "gzip" };
const head = (length: number) => envelope(new Uint8Array(), 0, length);

const FAULTS: Record<string, Fault> = {
  "no message": {
    body: [],
    code: Code.Unimplemented,
    text: "protocol error: missing input message for unary method",
  },
  "half an envelope": {
    body: [Buffer.from([0, 0, 0])],
    code: Code.InvalidArgument,
    text: "protocol error: incomplete envelope",
  },
  "a message that is too short": {
    body: [envelope(BINARY, 0, 9)],
    code: Code.InvalidArgument,
    text: "protocol error: promised 9 bytes in enveloped message, got 4 bytes",
  },
  "two messages": {
    body: [envelope(BINARY), envelope(BINARY)],
    code: Code.Unimplemented,
    text: "protocol error: received extra input message for unary method",
  },
  "a message and half an envelope": {
    body: [envelope(BINARY), Buffer.from([0])],
    code: Code.Unimplemented,
    text: "protocol error: received extra input message for unary method",
  },
  "a message that goes on beyond its length": {
    body: [envelope(BINARY), Buffer.alloc(500)],
    isWhole: false,
    code: Code.Unimplemented,
    text: "protocol error: received extra input message for unary method",
  },
  "a compressed message without grpc-encoding": {
    body: [envelope(gzipSync(BINARY), 1)],
    code: Code.Internal,
    text: "received compressed envelope, but do not know how to decompress",
  },
  "a length above the limit, before the message is there": {
    body: [head(MAX_BYTES + 1)],
    isWhole: false,
    code: Code.ResourceExhausted,
    text: `message size 1001 ${TOO_LARGE}`,
  },
  "a length above the limit, in parts": {
    body: [...head(MAX_BYTES + 1)].map((byte) => Buffer.from([byte])),
    isWhole: false,
    code: Code.ResourceExhausted,
    text: `message size 1001 ${TOO_LARGE}`,
  },
  "a message above the limit, whole": {
    body: [envelope(new Uint8Array(MAX_BYTES + 1))],
    code: Code.ResourceExhausted,
    text: `message size 1001 ${TOO_LARGE}`,
  },
  "a message that is above the limit when decompressed": {
    body: [envelope(gzipSync(new Uint8Array(MAX_BYTES + 1)), 1)],
    headers: gzip,
    code: Code.ResourceExhausted,
    text: `message ${TOO_LARGE} after decompression`,
  },
  "a message that is not compressed as it says": {
    body: [envelope(BINARY, 1)],
    headers: gzip,
    code: Code.InvalidArgument,
    text: "decompression failed",
  },
};

/** The status of a gRPC response, which is in the trailers, or of gRPC-Web, in the body. */
function statusOf({ headers, trailers, body }: RawAnswer) {
  if (trailers["grpc-status"] !== undefined)
    return {
      code: Number(trailers["grpc-status"]),
      text: decodeURIComponent(String(trailers["grpc-message"])),
    };
  assert.match(String(headers["content-type"]), /^application\/grpc-web/);
  const [, code] = /grpc-status: (\d+)/.exec(body.toString()) ?? [];
  const [, text = ""] = /grpc-message: (.*)\r\n/.exec(body.toString()) ?? [];
  return { code: Number(code), text: decodeURIComponent(text) };
}

/** Parts that the server sees as parts. */
async function sendInParts(
  call: { write(part: Uint8Array): void; end(): void },
  { body, isWhole = true }: Fault,
) {
  for (const part of body) {
    call.write(part);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  if (isWhole) call.end();
}

for (const [name, type, raw] of [
  ["gRPC", "application/grpc", rawHttp2],
  ["gRPC-Web over HTTP/2", "application/grpc-web", rawHttp2],
  ["gRPC-Web over HTTP/1.1", "application/grpc-web+proto", rawHttp1],
] as const) {
  describe(name, () => {
    for (const [what, fault] of Object.entries(FAULTS)) {
      test(`${what}: refused with its code and text`, async () => {
        await using at = await openEcho({ readMaxBytes: MAX_BYTES });
        using ask = raw(at.url);
        const headers = { "content-type": type, ...fault.headers };
        const call = ask({ path: SAY, headers, isWhole: false });
        await sendInParts(call, fault);
        const status = statusOf(await call.answer);
        assert.equal(status.code, fault.code);
        assert.ok(status.text.endsWith(fault.text), status.text);
        assert.deepEqual([at.counts.ends, at.counts.arriving], [[fault.code], 0]);
        // The next call is answered as if nothing had been: over HTTP/2 on the same connection.
        const next = await ask({ path: SAY, headers: { "content-type": type }, body: [envelope(BINARY)] })
          .answer;
        assert.equal(next.status, 200);
        assert.deepEqual(at.counts.ends, [fault.code, 0]);
      });
    }

    test("a message that arrives byte by byte is whole", async () => {
      await using at = await openEcho({ readMaxBytes: MAX_BYTES });
      using ask = raw(at.url);
      const call = ask({ path: SAY, headers: { "content-type": type }, isWhole: false });
      const body = [...envelope(BINARY)].map((byte) => Buffer.from([byte]));
      await sendInParts(call, { body } as unknown as Fault);
      const { body: answer } = await call.answer;
      assert.deepEqual(answer.subarray(0, 9), envelope(BINARY));
    });
  });
}

for (const [name, raw] of [
  ["HTTP/2", rawHttp2],
  ["HTTP/1.1", rawHttp1],
] as const) {
  test(`Connect over ${name}: a body above the limit is refused before it ends, and none of it is kept`, async () => {
    await using at = await openEcho({ readMaxBytes: MAX_BYTES });
    using ask = raw(at.url);
    const headers = { "content-type": "application/proto" };
    const call = ask({ path: SAY, headers, body: [new Uint8Array(MAX_BYTES)], isWhole: false });
    await until(() => at.counts.arriving === MAX_BYTES);
    call.write(new Uint8Array(1));
    const { status, body } = await call.answer;
    assert.equal(status, 429);
    assert.deepEqual(JSON.parse(body.toString()), {
      code: "resource_exhausted",
      message: `message size 1001 ${TOO_LARGE}`,
    });
    call.write(new Uint8Array(100_000));
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual([at.counts.ends, at.counts.arriving], [[Code.ResourceExhausted], 0]);
  });
}
