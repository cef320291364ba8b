import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { deadlineReset } from "../../src/node-http/deadline-reset.js";
import { createNodeTransport } from "../../src/transport/node.js";

/** The code with which SayHello fails over gRPC-Web if the response has these bytes. */
async function codeOf(body: Uint8Array): Promise<Code | undefined> {
  const http = createServer((request, response) => {
    request.resume().once("end", () => {
      response.writeHead(200, { "content-type": "application/grpc-web+proto" }).end(body);
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  await using transport = createNodeTransport(url, { protocol: "grpc-web", httpVersion: "1.1" });
  const error = await createClient(Runtime, transport)
    .sayHello({ serviceName: "x" })
    .then(
      () => undefined,
      (reason: unknown) => ConnectError.from(reason),
    );
  http.close().closeAllConnections();
  return error?.code;
}

test("a complete response without trailers is malformed, not a lost connection", async () => {
  assert.equal(await codeOf(new Uint8Array()), Code.Unknown);
});

test("a message that cannot be parsed is malformed, not a lost connection", async () => {
  // One truncated field.
  const code = await codeOf(Uint8Array.of(0, 0, 0, 0, 2, 10, 9));
  assert.equal(code, Code.Internal);
});

/** The ways in which lower layers report a reset. */
const RESETS = [
  new ConnectError("http/2 stream closed with error code CANCEL (0x8)", Code.Canceled),
  new ConnectError("lost the connection: the stream was reset, HTTP/2 error code 8", Code.Unavailable),
];

/** The codes of a unary call and of a stream with this header that are reset after 10 ms. */
async function resetWith(reset: ConnectError, name: string, value: string): Promise<(Code | undefined)[]> {
  const header = new Headers({ [name]: value });
  const fail = async (): Promise<never> => {
    await delay(10);
    throw reset;
  };
  const request = { header } as unknown as Parameters<ReturnType<Interceptor>>[0];
  const unary = deadlineReset(fail)(request);
  const message = { [Symbol.asyncIterator]: () => ({ next: fail }) };
  const stream = deadlineReset((async () => ({ stream: true, message })) as never)(request);
  const read = stream.then(async ({ message }) => {
    for await (const _ of message as AsyncIterable<unknown>);
  });
  const results = await Promise.allSettled([unary, read]);
  return results.map((result) =>
    result.status === "rejected" ? ConnectError.from(result.reason).code : undefined,
  );
}

test("a stream that is reset at its deadline has exceeded it; otherwise it keeps the code of the reset", async () => {
  const past = [Code.DeadlineExceeded, Code.DeadlineExceeded];
  for (const reset of RESETS) {
    for (const value of ["8m", "8000u"]) {
      assert.deepEqual(await resetWith(reset, "grpc-timeout", value), past, value);
    }
    assert.deepEqual(await resetWith(reset, "connect-timeout-ms", "8"), past);
    assert.deepEqual(await resetWith(reset, "grpc-timeout", "10S"), [reset.code, reset.code]);
    assert.deepEqual(await resetWith(reset, "x", "y"), [reset.code, reset.code]);
  }
  const other = new ConnectError("no such key", Code.NotFound);
  assert.deepEqual(await resetWith(other, "grpc-timeout", "8m"), [Code.NotFound, Code.NotFound]);
});
