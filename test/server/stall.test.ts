import assert from "node:assert/strict";
import { connect as connectHttp2, constants } from "node:http2";
import { connect as connectTcp } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, createClient as createRaw, type Transport } from "@connectrpc/connect";
import { test } from "vitest";
import { GetStateRequestSchema, Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { bytes, createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { sleep } from "../../src/rpc/sleep.js";
import { type ConfigInput, createServer, type Logger } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { Stream, type StreamEvents } from "../../src/tunnel/flow/stream.js";
import { Session } from "../../src/tunnel/session.js";
import { tunnelUrl } from "../../src/tunnel/socket/web-socket.js";
import { dialWs } from "../../src/tunnel/socket/ws-socket.js";
import { until } from "../support/until.js";

const VALUE_BYTES = 4 * 1024 ** 2 - 64 * 1024;
const READS = 80;

async function open(limits: ConfigInput["limits"]) {
  const lines: string[] = [];
  const note = (fields: object, text: string) => void lines.push(`${text} ${JSON.stringify(fields)}`);
  const log: Logger = { debug() {}, info: note, warn: note, error: note };
  const server = createServer({ config: { limits }, log });
  const listening = await listen(server, { port: 0, graceMs: 100 });
  const fl = createClient(server.transport());
  const value = new Uint8Array(VALUE_BYTES);
  await createRaw(Runtime, server.transport()).saveState({
    storeName: "default",
    states: [{ key: "k", value }],
  });
  return { ...listening, fl, lines, [Symbol.asyncDispose]: listening.close };
}

const REQUEST = toBinary(
  GetStateRequestSchema,
  create(GetStateRequestSchema, { storeName: "default", key: "k" }),
);
const PATH = "/spec.proto.runtime.v1.Runtime/GetState";
const read = async (transport: Transport) =>
  (await createRaw(Runtime, transport).getState({ storeName: "default", key: "k" })).data.length;

function frame(type: number, flags: number, id: number, body: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, body]);
}

const isStalled = (line: string) => line.startsWith("an answer was given up: nothing of it was taken for ");

test("HTTP/2: stalled streams are reset and logged, and their connection stays open", async () => {
  await using at = await open({ stalledMs: 500 });
  const session = connectHttp2(at.url, { settings: { initialWindowSize: 0 } });
  const ended = Array.from({ length: READS }, () => {
    const stream = session.request({ ":method": "POST", ":path": PATH, "content-type": "application/proto" });
    stream.on("error", () => {});
    // Those beyond the limit are refused at once, and their refusals are not read either.
    const code = new Promise((resolve) => stream.once("close", () => resolve(stream.rstCode)));
    stream.end(REQUEST);
    return code;
  });
  await using other = createNodeTransport(at.url);
  for (let i = 0; i < 3; i++) assert.equal(await read(other), VALUE_BYTES);
  for (const code of ended) assert.equal(await code, constants.NGHTTP2_CANCEL);
  assert.ok(at.lines.some(isStalled));
  assert.equal(session.destroyed, false);
  session.settings({ initialWindowSize: 1024 ** 2 });
  const again = session.request({ ":method": "POST", ":path": PATH, "content-type": "application/proto" });
  const status = new Promise((resolve) => again.once("response", (headers) => resolve(headers[":status"])));
  again.resume().end(REQUEST);
  assert.equal(await status, 200);
  session.destroy();
});

test("HTTP/2: a connection whose window stays closed loses the streams that wait for it", async () => {
  await using at = await open({ stalledMs: 500, pingMs: 50 });
  const socket = connectTcp(at.port, "127.0.0.1");
  const text = (value: string) => Buffer.from([value.length, ...Buffer.from(value)]);
  const headers = Buffer.concat([
    // ":method: POST", ":scheme: http", ":path", ":authority" and "content-type"
    Buffer.from([0x83, 0x86, 0x04]),
    text(PATH),
    Buffer.from([0x01]),
    text("localhost"),
    Buffer.from([0x0f, 0x10]),
    text("application/proto"),
  ]);
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  // The window of each stream is 16 MiB, that of the connection the initial 64 KiB.
  socket.write(Buffer.concat([frame(4, 0, 0, Buffer.from([0, 4, 1, 0, 0, 0])), frame(1, 4, 1, headers)]));
  socket.write(frame(0, 1, 1, REQUEST));
  let reset: Buffer | undefined;
  let seen = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    seen = Buffer.concat([seen, chunk]);
    while (seen.length >= 9 && seen.length >= 9 + seen.readUIntBE(0, 3)) {
      const body = seen.subarray(9, 9 + seen.readUIntBE(0, 3));
      if (seen[3] === 3) reset = body;
      if (seen[3] === 6 && seen[4] === 0) socket.write(frame(6, 1, 0, body));
      seen = seen.subarray(9 + body.length);
    }
    if (reset) break;
  }
  assert.equal(reset?.readUInt32BE(), constants.NGHTTP2_CANCEL);
  assert.ok(at.lines.some(isStalled));
});

test("HTTP/1.1: a stalled connection is closed, and the others are not affected", async () => {
  await using at = await open({ stalledMs: 500 });
  const sockets = Array.from({ length: 4 }, () => {
    const socket = connectTcp(at.port, "127.0.0.1").on("error", () => {});
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.pause();
    const head = `POST ${PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/proto\r\ncontent-length: ${REQUEST.length}\r\n\r\n`;
    for (let i = 0; i < 8; i++) socket.write(Buffer.concat([Buffer.from(head), REQUEST]));
    return { socket, closed };
  });
  await using other = createNodeTransport(at.url, { httpVersion: "1.1" });
  for (let i = 0; i < 3; i++) assert.equal(await read(other), VALUE_BYTES);
  await until(() => at.lines.filter(isStalled).length >= sockets.length);
  for (const { socket, closed } of sockets) {
    socket.resume();
    await closed;
  }
});

test("the tunnel: stalled calls are reset and logged, and the others are not affected", async () => {
  await using at = await open({ stalledMs: 500 });
  const session = new Session(await dialWs(tunnelUrl(at.url), 5000), { isDialler: true, answer() {} });
  const ask = () =>
    new Promise<number>((resolve) => {
      const over = ({ code }: { code: number }) => resolve(code);
      // Never reads a message: the responses fill the windows.
      const events: StreamEvents = { onMessage() {}, onEnd: over, onError: over, onRefused: over };
      const stream = new Stream(events, () => undefined, false);
      session.begin({ stream, path: PATH, timeoutMs: undefined, header: [] });
      stream.send(REQUEST, true);
    });
  const codes = Array.from({ length: READS }, ask);
  await using other = createTunnelTransport(at.url);
  for (let i = 0; i < 3; i++) assert.equal(await read(other), VALUE_BYTES);
  const all = new Set(await Promise.all(codes));
  // Those beyond the limit are refused.
  assert.deepEqual(
    [...all].sort((a, b) => a - b),
    [Code.ResourceExhausted, Code.Unavailable],
  );
  assert.ok(at.lines.some(isStalled));
  assert.equal(session.canBeginCalls, true);
  session.close(1000, "done");
});

test("a slow reader does not count as stalled", async () => {
  await using at = await open({ stalledMs: 400 });
  for (const initialWindowSize of [20_000, 2 ** 24]) {
    const session = connectHttp2(at.url, { settings: { initialWindowSize } });
    const stream = session.request({ ":method": "POST", ":path": PATH, "content-type": "application/proto" });
    stream.end(REQUEST);
    let bytes = 0;
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      // About 1.5 s in total, more than the limit.
      if (bytes < 1_000_000) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok(bytes > VALUE_BYTES);
    session.destroy();
  }
});

test("a stream that had nothing to send for longer than the limit does not count as stalled", async () => {
  await using at = await open({ stalledMs: 600 });
  const record = new Uint8Array(200_000);
  const log = at.fl.log("l", { codec: bytes() });
  await log.append(record);
  const session = connectHttp2(at.url, { settings: { initialWindowSize: 20_000 } });
  const stream = session.request({
    ":method": "POST",
    ":path": "/atomix.log.LogService/Consume",
    "content-type": "application/grpc",
    "fairlead-log": "l",
  });
  let received = 0;
  stream.on("data", (chunk: Uint8Array) => {
    received += chunk.length;
  });
  let code: number | undefined;
  stream.once("close", () => {
    code = stream.rstCode;
  });
  stream.end(new Uint8Array(5));
  await until(() => received >= record.length);
  await sleep(900);
  stream.pause();
  await log.append(record);
  await sleep(300);
  stream.resume();
  await until(() => received >= 2 * record.length || code !== undefined);
  assert.equal(code, undefined);
  session.destroy();
});
