import assert from "node:assert/strict";
import { connect as connectTcp } from "node:net";
import { describe, test } from "vitest";
import { WebSocket } from "ws";
import { createClient } from "../../src/index.js";
import { type ConfigInput, createServer, type Server } from "../../src/server/index.js";
import { type ListenOptions, listen, nodePlatform } from "../../src/server/node.js";
import { TUNNEL_PATH } from "../../src/tunnel/socket/web-socket.js";
import { SUBPROTOCOL } from "../../src/tunnel/wire/frame.js";
import { type Ask, type Asked, byFetch, overHttp1, overHttp2 } from "../support/ask.js";

interface At extends AsyncDisposable {
  port: number;
  server: Server;
  ask: Ask;
}

const platform = { ...nodePlatform, env: { FAIRLEAD_SECRET_A: "hidden" } };

async function openListening(
  config: ConfigInput,
  make: (port: number) => Ask,
  options?: ListenOptions,
): Promise<At> {
  const server = createServer({ config, platform });
  const at = await listen(server, { port: 0, insecure: true, ...options });
  return { port: at.port, server, ask: make(at.port), [Symbol.asyncDispose]: at.close };
}

const RUNTIME = "/spec.proto.runtime.v1.Runtime";
const get = (rpc: string, message: object): string =>
  `${RUNTIME}/${rpc}?connect=v1&encoding=json&message=${encodeURIComponent(JSON.stringify(message))}`;
const READ = get("GetState", { storeName: "default", key: "k" });
const save = (headers: Record<string, string>): Asked => ({
  path: `${RUNTIME}/SaveState`,
  method: "POST",
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify({ storeName: "default", states: [{ key: "k", value: btoa("1") }] }),
});
const isSaved = async ({ server }: At) =>
  (await createClient(server.transport()).raw.runtime.getState({ storeName: "default", key: "k" })).etag !==
  "";

const entryPoints: [name: string, make: (port: number) => Ask][] = [
  ["HTTP/1.1", overHttp1],
  ["HTTP/2", overHttp2],
];

for (const [name, make] of entryPoints) {
  describe(name, () => {
    test("on loopback, only names of this machine are accepted as hosts", async () => {
      await using at = await openListening({}, make);
      const paths = [READ, "/metrics", "/healthz", "/readyz", "/nothing"];
      for (const host of [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "192.168.1.7",
      ]) {
        for (const path of paths) {
          const { status, body } = await at.ask({ path, headers: { host } });
          assert.equal(status, 421, `${host} ${path}`);
          assert.match(body, /is not one of this server's: add its name to hosts/);
        }
        assert.equal((await at.ask(save({ host }))).status, 421);
        const preflight = { origin: "http://localhost:5173", "access-control-request-method": "POST" };
        const asked = { path: READ, method: "OPTIONS", headers: { host, ...preflight } };
        assert.equal((await at.ask(asked)).status, 421);
      }
      assert.equal(await isSaved(at), false);
      for (const host of [
        "localhost",
        "LOCALHOST:1",
        "a.localhost:80",
        "127.0.0.1",
        "127.8.9.1:3",
        "[::1]:9",
        "localhost.",
      ]) {
        assert.equal((await at.ask({ path: READ, headers: { host } })).status, 200, host);
      }
    });

    test("the names in hosts are accepted, too", async () => {
      await using at = await openListening({ hosts: ["app.example", "*.apps.example"] }, make);
      for (const host of ["app.example", "APP.example:8443", "a.b.apps.example", "localhost"]) {
        assert.equal((await at.ask({ path: READ, headers: { host } })).status, 200, host);
      }
      for (const host of ["apps.example", "evilapp.example", "app.example.evil.example"]) {
        assert.equal((await at.ask({ path: READ, headers: { host } })).status, 421, host);
      }
    });

    test("elsewhere than on loopback any host is accepted or, if hosts is set, those in it and addresses", async () => {
      await using open = await openListening({}, make, { host: "0.0.0.0" });
      assert.equal((await open.ask({ path: READ, headers: { host: "evil.example" } })).status, 200);
      await using named = await openListening({ hosts: ["app.example"] }, make, { host: "0.0.0.0" });
      for (const [host, status] of [
        ["evil.example", 421],
        ["app.example", 200],
        ["10.1.2.3:34904", 200],
      ] as const) {
        assert.equal((await named.ask({ path: "/healthz", headers: { host } })).status, status, host);
      }
    });

    test("secrets are never sent in response to GET", async () => {
      await using at = await openListening({}, make);
      const headers = { host: "127.0.0.1" };
      for (const path of [
        get("GetSecret", { storeName: "default", key: "FAIRLEAD_SECRET_A" }),
        get("GetBulkSecret", { storeName: "default" }),
      ]) {
        const { status, body } = await at.ask({ path, headers });
        assert.equal(status, 405);
        assert.doesNotMatch(body, /hidden/);
      }
    });

    test("a request of a page of another origin has no effect, with or without a preflight", async () => {
      await using at = await openListening({ cors: { origins: ["https://app.example"] } }, make);
      for (const origin of ["https://evil.example", "null", "http://localhost:5173", "file://"]) {
        for (const type of ["application/json", "text/plain"]) {
          const headers = { origin, "content-type": type };
          const { status, body } = await at.ask(save(headers));
          assert.equal(status, 403, origin);
          const { code, message } = JSON.parse(body) as Record<string, string>;
          assert.equal(code, "permission_denied");
          assert.match(message ?? "", /are not in cors\.origins/);
        }
        assert.equal((await at.ask({ path: READ, headers: { origin } })).status, 403);
        assert.equal((await at.ask({ path: "/metrics", headers: { origin } })).status, 403);
      }
      assert.equal(await isSaved(at), false);
      const grpc = await at.ask(
        save({ origin: "https://evil.example", "content-type": "application/grpc-web" }),
      );
      assert.match(grpc.body, /grpc-status: 7/);
      assert.equal(await isSaved(at), false);
      assert.equal((await at.ask(save({ origin: "https://app.example" }))).status, 200);
    });

    test("pages of the server's own address and clients that are no browsers may call", async () => {
      await using at = await openListening({ hosts: ["app.example"], cors: { origins: [] } }, make);
      const same: Record<string, string>[] = [
        { origin: "https://app.example", host: "app.example" },
        { origin: "http://app.example:8080", host: "app.example:8080" },
        { origin: "https://app.example", host: "app.example:443" },
        { host: "localhost" },
      ];
      for (const headers of same) assert.equal((await at.ask(save(headers))).status, 200);
      const other = { origin: "http://app.example:8080", host: "app.example" };
      assert.equal((await at.ask(save(other))).status, 403);
    });
  });
}

test("a request without a host is not from a browser: a probe by HTTP/1.0 is answered", async () => {
  await using at = await openListening({}, overHttp1);
  const socket = connectTcp(at.port, "127.0.0.1");
  socket.write("GET /healthz HTTP/1.0\r\n\r\n");
  let text = "";
  for await (const piece of socket) text += String(piece);
  assert.match(text, /^HTTP\/1\.1 200 /);
});

test("fetch() has the same check, and accepts any host if hosts is not set", async () => {
  const config = { cors: { origins: [] }, hosts: ["edge.example"] };
  await using server = createServer({ config, platform });
  const ask = byFetch(server);
  assert.equal((await ask({ path: READ, headers: { host: "evil.example" } })).status, 421);
  assert.equal((await ask({ path: "/readyz", headers: { host: "evil.example" } })).status, 421);
  assert.equal((await ask({ path: READ, headers: { host: "edge.example" } })).status, 200);
  const foreign = await ask(save({ host: "edge.example", origin: "https://evil.example" }));
  assert.equal(foreign.status, 403);
  assert.equal((await ask(save({ host: "edge.example", origin: "https://edge.example" }))).status, 200);
  assert.equal((await ask({ path: get("GetBulkSecret", { storeName: "default" }) })).status, 405);
  await using any = createServer({ platform });
  assert.equal((await byFetch(any)({ path: READ, headers: { host: "edge.example" } })).status, 200);
});

/** The status of the response to a WebSocket upgrade; 101 if it opens. */
function upgradeStatus(port: number, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${TUNNEL_PATH}`, SUBPROTOCOL, { headers });
    socket.once("open", () => {
      socket.terminate();
      resolve(101);
    });
    socket.once("unexpected-response", (_request, response) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    socket.once("error", reject);
  });
}

test("a tunnel is refused before it opens: 421 for another host, 403 for a page of another origin", async () => {
  await using at = await openListening({ cors: { origins: ["https://app.example"] } }, overHttp1);
  assert.equal(await upgradeStatus(at.port, { host: "evil.example" }), 421);
  assert.equal(await upgradeStatus(at.port, { origin: "https://evil.example" }), 403);
  assert.equal(await upgradeStatus(at.port, { origin: "null" }), 403);
  assert.equal(await upgradeStatus(at.port, { origin: "https://app.example" }), 101);
  assert.equal(await upgradeStatus(at.port, { origin: `http://127.0.0.1:${at.port}` }), 101);
  assert.equal(await upgradeStatus(at.port, {}), 101);
});
