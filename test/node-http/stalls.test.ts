import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2, constants, type IncomingHttpHeaders } from "node:http2";
import { connect as connectTcp } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, test as sequentialTest } from "vitest";
import { until } from "../support/until.js";
import { openEcho, SAY } from "./echo-server.js";
import { envelope } from "./raw-http.js";

/** Each has a server of its own, and waits most of its time. */
const test = sequentialTest.concurrent;

const BINARY = Buffer.from([0x0a, 2, 0x68, 0x69]);
const STALLED_MS = 320;
/** More than the buffers of two sockets hold. */
const LARGE = "x".repeat(16 * 1024 ** 2);

const HTTP1 =
  `POST ${SAY} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\n` +
  `content-length: ${BINARY.length}\r\n\r\n`;

for (const type of ["application/proto", "application/grpc"]) {
  const body = type === "application/grpc" ? envelope(BINARY) : BINARY;
  describe.concurrent(type, () => {
    test("HTTP/2: a response whose window stays closed is reset, and the connection goes on", async () => {
      await using at = await openEcho({ stalledMs: STALLED_MS, say: () => "x".repeat(1000) });
      const session = connectHttp2(at.url, { settings: { initialWindowSize: 0 } });
      const headers = { ":method": "POST", ":path": SAY, "content-type": type };
      const stream = session.request(headers).on("error", () => {});
      const startMs = performance.now();
      stream.end(body);
      await new Promise((resolve) => stream.once("close", resolve));
      assert.equal(stream.rstCode, constants.NGHTTP2_CANCEL);
      assert.ok(performance.now() - startMs >= STALLED_MS);
      assert.deepEqual([at.counts.stalled, at.counts.leaving], [[SAY.slice(1)], 0]);
      session.settings({ initialWindowSize: 1024 ** 2 });
      const next = session.request(headers).resume();
      next.end(body);
      await new Promise((resolve) => next.once("close", resolve));
      assert.equal(next.rstCode, constants.NGHTTP2_NO_ERROR);
      session.destroy();
    });

    test("HTTP/2: a response that is read slowly is not", async () => {
      await using at = await openEcho({ stalledMs: STALLED_MS, say: () => "x".repeat(64 * 1024 * 10) });
      const session = connectHttp2(at.url, { settings: { initialWindowSize: 64 * 1024 } });
      const stream = session.request({ ":method": "POST", ":path": SAY, "content-type": type });
      stream.end(body);
      let bytes = 0;
      stream.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        stream.pause();
        setTimeout(() => stream.resume(), STALLED_MS / 10);
      });
      const startMs = performance.now();
      await new Promise((resolve) => stream.once("close", resolve));
      assert.ok(performance.now() - startMs > STALLED_MS * 1.5, "it was not slow");
      assert.ok(bytes > 640 * 1024);
      assert.deepEqual([stream.rstCode, at.counts.stalled, at.counts.leaving], [0, [], 0]);
      session.destroy();
    });
  });
}

/** A request that is refused at once or within its body, and whose client never ends it. */
const REFUSALS = {
  "before its body": {
    options: {
      beforeAdmission: () => {
        throw new ConnectError("not now", Code.Unavailable);
      },
    },
    body: new Uint8Array(5),
  },
  "within its body": { options: { readMaxBytes: 1000 }, body: new Uint8Array(1001) },
} as const;

for (const type of ["application/proto", "application/grpc", "application/grpc-web+proto"]) {
  for (const [name, { options, body }] of Object.entries(REFUSALS)) {
    for (const goesOn of [false, true]) {
      const what = goesOn ? "goes on to send" : "sends nothing more, and no end";
      test(`HTTP/2, ${type}: a stream is closed with its response if it is refused ${name}, and its client ${what}`, async () => {
        await using at = await openEcho({ stalledMs: 60_000, ...options });
        // The response needs several windows.
        const session = connectHttp2(at.url, { settings: { initialWindowSize: 16 } });
        const headers = { ":method": "POST", ":path": SAY, "content-type": type };
        const stream = session.request(headers).on("error", () => {});
        const isEnveloped = type !== "application/proto";
        stream.write(isEnveloped ? envelope(body) : body);
        const sending = goesOn && setInterval(() => stream.writable && stream.write(body), 5);
        let status: unknown;
        let grpcStatus: unknown;
        let hasEnded = false;
        let answered = Buffer.alloc(0);
        const read = (headers: IncomingHttpHeaders) => {
          status ??= headers[":status"];
          grpcStatus ??= headers["grpc-status"];
        };
        stream.on("response", read).on("trailers", read);
        stream.on("data", (chunk: Buffer) => {
          answered = Buffer.concat([answered, chunk]);
        });
        stream.on("end", () => {
          hasEnded = true;
        });
        await once(stream, "close");
        if (sending) clearInterval(sending);
        assert.deepEqual([hasEnded, stream.rstCode], [true, constants.NGHTTP2_NO_ERROR]);
        assert.equal(status, isEnveloped ? 200 : name === "within its body" ? 429 : 503);
        if (type === "application/grpc") assert.ok(Number(grpcStatus) > 0, String(grpcStatus));
        else if (isEnveloped) assert.match(answered.toString(), /grpc-status: \d+/);
        else assert.ok(JSON.parse(answered.toString()).message);
        assert.deepEqual([at.counts.stalled, at.counts.arriving, at.counts.leaving], [[], 0, 0]);
        const ping = await new Promise((resolve) => session.ping((error) => resolve(error)));
        assert.equal(ping, null);
        session.destroy();
      });
    }
  }
}

test("HTTP/1.1: a paused connection is closed", async () => {
  await using at = await openEcho({ stalledMs: STALLED_MS, say: () => LARGE });
  const socket = connectTcp(at.port, "127.0.0.1").on("error", () => {});
  socket.pause().write(Buffer.concat([Buffer.from(HTTP1), BINARY]));
  await until(() => at.counts.stalled.length > 0);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.resume();
  await closed;
  assert.deepEqual([at.counts.stalled, at.counts.leaving], [[SAY.slice(1)], 0]);
});

test("HTTP/1.1: a connection that is read slowly is not", async () => {
  await using at = await openEcho({ stalledMs: STALLED_MS, say: () => LARGE });
  const socket = connectTcp(at.port, "127.0.0.1");
  socket.write(Buffer.concat([Buffer.from(HTTP1), BINARY]));
  let bytes = 0;
  let pauses = 0;
  socket.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes < 1024 ** 2 * (pauses + 1) || pauses > 12) return;
    pauses++;
    socket.pause();
    setTimeout(() => socket.resume(), STALLED_MS / 5);
  });
  await until(() => bytes > LARGE.length);
  assert.ok(pauses > 10);
  assert.deepEqual(at.counts.stalled, []);
  await until(() => at.counts.leaving === 0);
  socket.destroy();
});

for (const isReference of [false, true]) {
  test(`HTTP/1.1: a response that waits for an earlier one of its connection is not${isReference ? ", of Connect's own handlers" : ""}`, async () => {
    const say = async (text: string) => {
      if (text === "hi") await new Promise((resolve) => setTimeout(resolve, STALLED_MS * 2));
      return text;
    };
    await using at = await openEcho({ stalledMs: STALLED_MS, say, isReference });
    const socket = connectTcp(at.port, "127.0.0.1");
    const other = Buffer.from([0x0a, 2, 0x68, 0x6f]);
    socket.write(Buffer.concat([Buffer.from(HTTP1), BINARY, Buffer.from(HTTP1), other]));
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
    });
    const closed = new Promise((resolve) => socket.once("close", resolve));
    await Promise.race([until(() => text.split("200 OK").length === 3), closed]);
    assert.equal(text.split("200 OK").length, 3);
    assert.deepEqual(at.counts.stalled, []);
    socket.destroy();
  });
}
