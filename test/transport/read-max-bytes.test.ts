import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer as createHttp } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createGzip } from "node:zlib";
import { Code } from "@connectrpc/connect";
import { build } from "esbuild";
import { afterAll, beforeAll, test } from "vitest";
import { createClient, isExhausted } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { createGrpcWebTransport, createWebTransport } from "../../src/web.js";
import { failure } from "../decisions/failure.js";
import { overHttp } from "../support/protocols.js";

const MiB = 1024 ** 2;
const BOMB_MIB = 400;

/** `head`, then zeros, compressed to a thousandth. */
async function bomb(head: Uint8Array): Promise<Buffer> {
  const gzip = createGzip({ level: 1 });
  const parts: Buffer[] = [];
  gzip.on("data", (part: Buffer) => parts.push(part));
  gzip.write(head);
  const zeros = Buffer.alloc(4 * MiB);
  for (let i = 0; i < BOMB_MIB; i += 4) if (!gzip.write(zeros)) await once(gzip, "drain");
  gzip.end();
  await once(gzip, "end");
  return Buffer.concat(parts);
}

const outfile = join(import.meta.dirname, `.tmp/reader-${process.pid}.mjs`);
const server = createHttp();
let url = "";

beforeAll(async () => {
  const envelope = Buffer.alloc(5);
  envelope.writeUInt32BE(BOMB_MIB * MiB, 1);
  const [plain, enveloped, json] = await Promise.all([
    bomb(Buffer.alloc(0)),
    bomb(envelope),
    bomb(Buffer.from('{"hello":"')),
  ]);
  server.on("request", (request, response) => {
    const type = request.headers["content-type"] ?? "";
    request.resume();
    response.writeHead(200, { "content-type": type, "content-encoding": "gzip" });
    const isEnveloped = /connect\+|grpc/.test(type);
    response.end(isEnveloped ? enveloped : type.includes("json") ? json : plain);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await build({
    entryPoints: [join(import.meta.dirname, "../memory/reader.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    target: "es2022",
  });
}, 60_000);

afterAll(async () => {
  server.close();
  server.closeAllConnections();
  await rm(outfile, { force: true });
});

for (const [way, call] of [
  ["fetch", "unary"],
  ["fetch", "stream"],
  ["json", "unary"],
  ["json", "stream"],
  ["grpc-web", "unary"],
  ["grpc-web", "stream"],
  ["http/1.1", "unary"],
] as const) {
  test(`a response of ${BOMB_MIB} MiB, compressed to a thousandth, is refused at 64 MiB: ${way}, ${call}`, async () => {
    const child = fork(outfile, [url, way, call], { execArgv: ["--max-old-space-size=96"] });
    const [result] = (await once(child, "message")) as [{ code: unknown; message: string; mostMiB: number }];
    assert.equal(result.code, Code.ResourceExhausted, result.message);
    assert.ok(result.mostMiB < 330, `${result.mostMiB} MiB`);
  }, 30_000);
}

test("readMaxBytes is an option of every transport, for unary responses and for each message of a stream", async () => {
  await using at = await overHttp((url) => createNodeTransport(url))();
  const server = createClient(at.transport);
  await server.state().set("small", "x");
  await server.state().set("large", "x".repeat(5000));
  await server.log().append(["x".repeat(500), "y".repeat(500), "z".repeat(5000)]);
  const options = { readMaxBytes: 2000 };
  const transports = {
    fetch: createWebTransport(at.url, options),
    json: createWebTransport(at.url, { ...options, json: true }),
    "grpc-web over fetch": createGrpcWebTransport(at.url, options),
    "HTTP/1.1": createNodeTransport(at.url, { ...options, httpVersion: "1.1" }),
    "HTTP/2": createNodeTransport(at.url, options),
    grpc: createNodeTransport(at.url, { ...options, protocol: "grpc", compression: true }),
    tunnel: createTunnelTransport(at.url, options),
  };
  for (const [name, transport] of Object.entries(transports)) {
    const fl = createClient(transport, { retry: false });
    assert.equal((await fl.state().get("small"))?.value, "x", name);
    assert.ok(isExhausted(await failure(fl.state().get("large"))), name);
    const reading = (async () => {
      for await (const { value } of fl.log<string>().read({ follow: false })) assert.equal(value.length, 500);
    })();
    assert.ok(isExhausted(await failure(reading)), name);
    await transport[Symbol.asyncDispose]();
  }
});
