import assert from "node:assert/strict";
import { request as http1Request } from "node:http";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.js";
import {
  GetStateRequestSchema,
  PublishEventRequestSchema,
  Runtime,
  SaveStateRequestSchema,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { malformed } from "../../src/server/calls/malformed.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createSocketPair } from "../../src/tunnel/socket/pair.js";
import { RawPeer } from "../tunnel/raw.js";

/** A request whose key is not UTF-8. */
const BAD_KEY = Uint8Array.of(0x0a, 1, 0x61, 0x12, 2, 0xff, 0xfe);
const NO_MESSAGE = Uint8Array.of(0x0a, 200, 1, 2);
const envelope = (bytes: Uint8Array, flags = 0) => {
  const all = new Uint8Array(bytes.length + 5);
  all[0] = flags;
  new DataView(all.buffer).setUint32(1, bytes.length);
  all.set(bytes, 5);
  return all;
};

async function open() {
  const server = createServer();
  const at = await listen(server, { port: 0 });
  const post = (rpc: string, type: string, body: Uint8Array, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const path = `/${Runtime.typeName}/${rpc}`;
      const all = { "content-type": type, te: "trailers", ...headers };
      const options = { host: "127.0.0.1", port: at.port, method: "POST", path, headers: all, agent: false };
      const request = http1Request(options, (response) => {
        let text = "";
        response.setEncoding("latin1").on("data", (piece: string) => {
          text += piece;
        });
        response.once("end", () => {
          const trailers = Object.entries(response.trailers).map(([name, value]) => `${name}: ${value}`);
          const status = response.statusCode ?? 0;
          resolve({
            status,
            text: decodeURIComponent(`${text} ${trailers.join(" ")}`.replace(/%(?![0-9A-F]{2})/g, "%25")),
          });
        });
      });
      request.once("error", reject);
      request.end(body);
    });
  return { server, post, [Symbol.asyncDispose]: at.close };
}

const NAMED = /key of 2 bytes: must be well-formed UTF-8/;
const UNREADABLE = /cannot read the message/;

const wires: [name: string, type: string, framed: boolean, code: RegExp][] = [
  ["Connect", "application/proto", false, /"code":"invalid_argument"/],
  ["gRPC", "application/grpc", true, /grpc-status: 3/],
  ["gRPC-Web", "application/grpc-web", true, /grpc-status: 3/],
];

for (const [name, type, framed, code] of wires) {
  describe(name, () => {
    const framing = (bytes: Uint8Array) => (framed ? envelope(bytes) : bytes);

    test("a message that cannot be decoded is invalid_argument", async () => {
      await using at = await open();
      const { text } = await at.post("GetState", type, framing(NO_MESSAGE));
      assert.match(text, code);
      assert.match(text, UNREADABLE);
      // A message that can be decoded is refused for its content.
      const other = await at.post("GetState", type, framing(Uint8Array.of(0x0a, 1, 0x61, 0x12, 1, 0x6b)));
      assert.match(other.text, /is not configured/);
    });

    test("a text that is not UTF-8 is invalid_argument, naming the field", async () => {
      await using at = await open();
      const { text } = await at.post("GetState", type, framing(BAD_KEY));
      assert.match(text, code);
      assert.match(text, NAMED);
    });
  });
}

test("a compressed message is refused with the same error", async () => {
  await using at = await open();
  const headers = { "content-encoding": "gzip" };
  const { status, text } = await at.post("GetState", "application/proto", gzipSync(BAD_KEY), headers);
  assert.equal(status, 400);
  assert.match(text, /key of 2 bytes: must be well-formed UTF-8/);
});

test("streams: the same for the first message", async () => {
  await using at = await open();
  for (const [type, code] of [
    ["application/connect+proto", /"code":"invalid_argument"/],
    ["application/grpc", /grpc-status: 3/],
  ] as const) {
    const { text } = await at.post("GetFile", type, envelope(BAD_KEY));
    assert.match(text, code);
    assert.match(text, /name of 2 bytes: must be well-formed UTF-8/);
    const upload = await at.post("PutFile", type, envelope(NO_MESSAGE));
    assert.match(upload.text, code);
  }
});

test("JSON: bytes that are not UTF-8 are not replaced by other text", async () => {
  await using at = await open();
  const json = (key: number[]) =>
    Buffer.concat([Buffer.from('{"storeName":"default","key":"'), Buffer.from(key), Buffer.from('"}')]);
  const bad = await at.post("GetState", "application/json", json([0xff]));
  assert.equal(bad.status, 400);
  assert.match(bad.text, /GetStateRequest\.key/);
  const good = await at.post("GetState", "application/json", json([0xef, 0xbf, 0xbd]));
  assert.equal(good.status, 200);
});

test("GET: a message in the query that is not UTF-8, as JSON and as base64", async () => {
  await using at = await open();
  const ask = async (query: string) => {
    const url = `http://localhost/${Runtime.typeName}/GetState?connect=v1&${query}`;
    const response = await at.server.fetch(new Request(url));
    return `${response.status} ${await response.text()}`;
  };
  const json = (key: string) => `encoding=json&message={"storeName":"default","key":"${key}"}`;
  assert.match(await ask(json("%FF")), /^400 .*cannot read the message/);
  assert.match(await ask(json("%ef%bf%bd")), /^200 /);
  assert.match(await ask(json("100%")), /^200 /);
  const base64 = Buffer.from(BAD_KEY).toString("base64url");
  assert.match(await ask(`encoding=proto&base64=1&message=${base64}`), /^400 .*cannot read the message/);
});

test("the tunnel: a message that cannot be decoded", async () => {
  await using server = createServer();
  const net = createSocketPair();
  const peer = new RawPeer(net, 0);
  server.tunnels.accept(net.ends[1]);
  peer.send({ kind: "settings", settings: {} });
  for (const [i, [rpc, bytes, why]] of (
    [
      ["GetState", BAD_KEY, NAMED],
      ["GetState", NO_MESSAGE, UNREADABLE],
      ["PutFile", BAD_KEY, /name of 2 bytes/],
    ] as const
  ).entries()) {
    const id = i * 2 + 1;
    peer.send(
      { kind: "call", id, method: `/${Runtime.typeName}/${rpc}`, timeoutMs: undefined, header: [] },
      { kind: "message", id, bytes, end: true, more: false },
    );
    await peer.until((peer) => peer.of("STATUS", id).length > 0);
    const [status] = peer.of("STATUS", id);
    assert.equal(status?.number, Code.InvalidArgument);
    assert.match(Buffer.from(status?.body ?? []).toString("latin1"), why);
  }
});

test("malformed() names the path of a text in lists, maps and nested messages", () => {
  const MARK = 0x07;
  const marked = (bytes: Uint8Array): Uint8Array => {
    const copy = bytes.slice();
    copy[copy.indexOf(MARK)] = 0xff;
    return copy;
  };
  const fieldOf = (error: ConnectError) => error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field;
  const states = [{ key: "a" }, { key: "\u0007" }];
  const save = marked(
    toBinary(SaveStateRequestSchema, create(SaveStateRequestSchema, { storeName: "s", states })),
  );
  const found = malformed(SaveStateRequestSchema, save);
  assert.equal(found.code, Code.InvalidArgument);
  assert.equal(fieldOf(found), "states[1].key");
  for (const metadata of [{ "\u0007": "x" }, { x: "\u0007" }] as Record<string, string>[]) {
    const publish = create(PublishEventRequestSchema, { topic: "t", metadata });
    const bytes = marked(toBinary(PublishEventRequestSchema, publish));
    assert.equal(fieldOf(malformed(PublishEventRequestSchema, bytes)), "metadata");
  }
  assert.equal(fieldOf(malformed(GetStateRequestSchema, NO_MESSAGE)), undefined);
});
