import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { connect as connectHttp2 } from "node:http2";
import { get } from "node:https";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import { Code, type ConnectError } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { createClient } from "../../src/index.js";
import { createNodeTransport, type NodeTransportOptions } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { ca, cert, key, renewed } from "../support/certificates.js";

const open = (host = "127.0.0.1") =>
  listen(createServer({ platform: nodePlatform }), { host, port: 0, tls: { key, cert } });

describe("every protocol over TLS", () => {
  const ways: NodeTransportOptions[] = [
    { protocol: "connect" },
    { protocol: "connect", httpVersion: "1.1" },
    { protocol: "grpc" },
    { protocol: "grpc-web" },
    { protocol: "grpc-web", httpVersion: "1.1" },
  ];
  for (const way of ways) {
    test(`${way.protocol} over HTTP/${way.httpVersion ?? "2"}`, async () => {
      await using at = await open();
      assert.match(at.url, /^https:\/\/127\.0\.0\.1:\d+$/);
      await using fl = createClient(createNodeTransport(at.url, { ...way, ca }));
      await fl.state<number>().set("k", 7);
      assert.equal((await fl.state<number>().get("k"))?.value, 7);
      await fl.files().put("big", new Uint8Array(300_000));
      assert.equal((await (await fl.files().get("big"))?.bytes())?.length, 300_000);
    });
  }
});

test("ALPN selects HTTP/2 if the client offers it, and HTTP/1.1 otherwise", async () => {
  await using at = await open();
  const port = at.port;
  const chosen = (ALPNProtocols?: string[]) =>
    new Promise((resolve, reject) => {
      const socket = connectTls(
        { port, ca, host: "127.0.0.1", ...(ALPNProtocols && { ALPNProtocols }) },
        () => {
          resolve(socket.alpnProtocol);
          socket.destroy();
        },
      ).on("error", reject);
    });
  assert.equal(await chosen(["h2", "http/1.1"]), "h2");
  assert.equal(await chosen(["http/1.1"]), "http/1.1");
  assert.equal(await chosen(), false);
  const status = await new Promise((resolve, reject) =>
    get(`${at.url}/readyz`, { ca, agent: false }, (response) => resolve(response.resume().statusCode)).on(
      "error",
      reject,
    ),
  );
  assert.equal(status, 200);
});

test("a client that does not trust the authority fails, and the server continues", async () => {
  await using at = await open();
  await using stranger = createClient(createNodeTransport(at.url), { retry: false });
  const error = (await stranger
    .state()
    .get("k")
    .catch((error: unknown) => error)) as ConnectError;
  assert.match(String(error.cause ?? error), /self-signed certificate|unable to verify|CERT/i);
  await using fl = createClient(createNodeTransport(at.url, { ca }));
  assert.equal(await fl.hello().say("Ada"), "Hello, Ada");
});

test("a plain HTTP client gets an error that the port needs TLS", async () => {
  await using at = await open();
  const answered = async (first: string) => {
    const socket = connectTcp(at.port, "127.0.0.1");
    socket.write(first);
    let text = "";
    for await (const chunk of socket) text += String(chunk);
    return text;
  };
  assert.match(
    await answered("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"),
    /^HTTP\/1\.1 400[\s\S]*call it by https:/,
  );
  assert.equal(await answered("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "");
  await using plain = createClient(createNodeTransport(at.url.replace("https:", "http:")), { retry: false });
  const error = (await plain
    .state()
    .get("k")
    .catch((error: unknown) => error)) as ConnectError;
  assert.equal(error.code, Code.Unavailable);
});

test("close() waits for no connection that has never sent a request", async () => {
  const at = await open();
  const sockets = await Promise.all(
    [["h2"], ["http/1.1"]].map(
      (ALPNProtocols) =>
        new Promise<ReturnType<typeof connectTls>>((resolve) => {
          const socket = connectTls({ port: at.port, ca, host: "127.0.0.1", ALPNProtocols }, () =>
            resolve(socket.resume()),
          );
        }),
    ),
  );
  const session = connectHttp2(at.url, { ca });
  await new Promise<void>((resolve) => session.once("connect", () => resolve()));
  const beganMs = performance.now();
  await at.close();
  assert.ok(performance.now() - beganMs < 2000);
  session.destroy();
  for (const socket of sockets) socket.destroy();
});

test("listen() rejects with the reason if the key is missing, malformed or does not match", async () => {
  await using server = createServer();
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({
    type: "pkcs8",
    format: "pem",
  });
  const failing = (tls: { key: string; cert: string }) => listen(server, { port: 0, tls });
  await assert.rejects(
    failing({ key: "", cert }),
    /^TypeError: Cannot serve TLS: tls\.key and tls\.cert must both be/,
  );
  await assert.rejects(failing({ key: "hello", cert }), /^TypeError: Cannot serve TLS with this tls\.key/);
  await assert.rejects(
    failing({ key: String(other), cert }),
    /^TypeError: Cannot serve TLS with .*key values mismatch/,
  );
});

test("setTls() refuses a key that does not match, and a port without TLS, and changes nothing", async () => {
  await using at = await open();
  assert.throws(
    () => at.setTls({ key, cert: renewed.cert }),
    /^TypeError: Cannot serve TLS with .*key values mismatch/,
  );
  await using fl = createClient(createNodeTransport(at.url, { ca }));
  assert.equal(await fl.hello().say("Ada"), "Hello, Ada");
  await using plain = await listen(createServer(), { port: 0 });
  assert.throws(
    () => plain.setTls({ key, cert }),
    /^TypeError: Cannot change the certificate of a port without/,
  );
});
