import assert from "node:assert/strict";
import { request as http1Request } from "node:http";
import { connect as http2Connect } from "node:http2";
import { connect as tcpConnect } from "node:net";
import { Code, type ConnectError, type Transport } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { createClient, withToken } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { type ConfigInput, createServer } from "../../src/server/index.js";
import { createGrpcWebTransport, createWebTransport } from "../../src/web.js";
import { failure } from "../decisions/failure.js";
import { openInProcess, overHttp } from "../support/protocols.js";
import { jwtOf, openIssuer } from "../support/tokens.js";

const ADMIN = "admin-0123456789abcdef";
const READER = "reader-0123456789abcdef";

const config: ConfigInput = {
  access: {
    tokens: [
      { token: ADMIN, subject: "admin", roles: ["admin"] },
      { token: READER, subject: "reader", roles: ["reader"] },
    ],
    roles: {
      admin: [{ primitive: "*", verbs: ["*"] }],
      reader: [
        { primitive: "state", verbs: ["read"] },
        { primitive: "files", store: "public*", verbs: ["read"] },
        { primitive: "log", store: "audit", verbs: ["read"] },
      ],
    },
  },
  files: { default: {}, "public-1": {} },
};

/** The wire formats of a refusal. */
const wires: {
  name: string;
  uploads: boolean;
  dial: (url: string) => Transport & Partial<AsyncDisposable>;
}[] = [
  { name: "Connect over HTTP/2", uploads: true, dial: (url) => createNodeTransport(url) },
  { name: "gRPC", uploads: true, dial: (url) => createNodeTransport(url, { protocol: "grpc" }) },
  { name: "gRPC-Web", uploads: true, dial: (url) => createNodeTransport(url, { protocol: "grpc-web" }) },
  {
    name: "Connect JSON over HTTP/1.1",
    uploads: true,
    dial: (url) => createNodeTransport(url, { httpVersion: "1.1", json: true }),
  },
  { name: "Connect over fetch", uploads: false, dial: (url) => createWebTransport(url) },
  {
    name: "gRPC-Web over fetch",
    uploads: false,
    dial: (url) => createGrpcWebTransport(url),
  },
];

const raw = (transport: Transport) => createClient(transport, { retry: false });

async function drained(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

for (const { name, uploads, dial } of wires) {
  describe(name, () => {
    test("calls without a token, with a bad one, and beyond its rights", async () => {
      await using at = await overHttp(dial)({ config });
      const refused = async (token: string | undefined, code: Code, error?: string) => {
        const fl = raw(token === undefined ? at.transport : withToken(at.transport, token));
        const { runtime, log } = fl.raw;
        const calls: (() => Promise<unknown>)[] = [
          () => runtime.saveState({ storeName: "default", states: [] }),
          () => drained(runtime.getFile({ storeName: "default", name: "a" })),
          () => drained(log.consume({})),
        ];
        if (uploads) {
          const part = { storeName: "default", name: "a", data: new Uint8Array(10) };
          const upload = async function* () {
            yield part;
          };
          calls.push(() => runtime.putFile(upload()));
        }
        for (const call of calls) {
          const fault = await failure(call());
          assert.equal(fault.code, code, fault.message);
          const challenge = `Bearer realm="fairlead"${error ? `, error="${error}"` : ""}`;
          assert.equal(fault.metadata.get("www-authenticate")?.split(", Bearer")[0], challenge);
        }
      };
      await refused(undefined, Code.Unauthenticated);
      await refused("nobody-0123456789abcdef", Code.Unauthenticated, "invalid_token");
      await refused(READER, Code.PermissionDenied, "insufficient_scope");
      const fl = raw(withToken(at.transport, ADMIN));
      await fl.state().set("k", 1);
      assert.equal((await raw(withToken(at.transport, READER)).state().get("k"))?.value, 1);
    });

    test("a JWT: valid, expired, for another audience, of another issuer, by another key", async () => {
      await using issuer = await openIssuer();
      await using other = await openIssuer();
      const access = {
        jwt: jwtOf(issuer),
        roles: { writer: [{ primitive: "state" as const, verbs: ["write"] }] },
      };
      await using at = await overHttp(dial)({ config: { access } });
      const call = (token: string) => raw(withToken(at.transport, token)).state().set("k", 1);
      await call(await issuer.sign({ roles: ["writer"] }));
      const long = Math.floor(Date.now() / 1000) - 60;
      const cases: [token: string, code: Code, told: RegExp][] = [
        [
          await issuer.sign({ roles: ["writer"], exp: long }),
          Code.Unauthenticated,
          /^the bearer token has expired$/,
        ],
        [
          await issuer.sign({ roles: ["writer"], aud: "billing" }),
          Code.Unauthenticated,
          /audience \(claim "aud"\)/,
        ],
        [
          await issuer.sign({ roles: ["writer"], iss: "https://x" }),
          Code.Unauthenticated,
          /issuer \(claim "iss"\)/,
        ],
        [
          await other.sign({ roles: ["writer"] }),
          Code.Unauthenticated,
          /not signed with a key of the issuer/,
        ],
        ["a.b.c", Code.Unauthenticated, /is no valid JWT/],
        [await issuer.sign({ roles: ["reader"] }), Code.PermissionDenied, /^"ada" may not write state/],
        [await issuer.sign(), Code.PermissionDenied, /^"ada" may not write state/],
      ];
      for (const [token, code, told] of cases) {
        const error = await failure(call(token));
        assert.equal(error.code, code, error.message);
        assert.match(error.rawMessage, told);
        assert.ok(!error.message.includes(token));
      }
    });
  });
}

test("over HTTP/1.1 the refusal is sent before the body, when only its length was received", async () => {
  await using at = await overHttp((url) => createNodeTransport(url))({ config });
  const { port } = new URL(at.url);
  const socket = tcpConnect(Number(port), "127.0.0.1");
  socket.write(
    "POST /spec.proto.runtime.v1.Runtime/SaveState HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/proto\r\n" +
      "content-length: 8000000\r\n\r\n",
  );
  const answer = await new Promise<string>((resolve) =>
    socket.once("data", (chunk) => resolve(String(chunk))),
  );
  assert.match(answer, /^HTTP\/1\.1 401 /);
  assert.match(answer, /www-authenticate: Bearer realm="fairlead"\r\n/i);
  assert.match(answer, /"code":"unauthenticated"/);
  socket.destroy();
});

test("over HTTP/2 the refusal is sent as trailers before anything of the stream was received", async () => {
  await using at = await overHttp((url) => createNodeTransport(url))({ config });
  const session = http2Connect(at.url);
  const stream = session.request(
    {
      ":method": "POST",
      ":path": "/spec.proto.runtime.v1.Runtime/PutFile",
      "content-type": "application/grpc+proto",
      te: "trailers",
    },
    { endStream: false },
  );
  const [headers, trailers] = await Promise.all([
    new Promise<Record<string, unknown>>((resolve) => stream.once("response", resolve)),
    new Promise<Record<string, unknown>>((resolve) => stream.resume().once("trailers", resolve)),
  ]);
  assert.equal(headers[":status"], 200);
  assert.equal(headers["content-type"], "application/grpc+proto");
  assert.equal(trailers["grpc-status"], String(Code.Unauthenticated));
  stream.close();
  session.close();
});

test("the fetch handler reads no byte of the body of a refused request", async () => {
  await using server = createServer({ config });
  for (const type of ["application/proto", "application/connect+proto", "application/grpc-web+proto"]) {
    let pulled = 0;
    const body = new ReadableStream({ pull: () => void pulled++ }, { highWaterMark: 0 });
    const path = type === "application/connect+proto" ? "PutFile" : "SaveState";
    const answer = await server.fetch(
      new Request(`http://edge/spec.proto.runtime.v1.Runtime/${path}`, {
        method: "POST",
        headers: { "content-type": type },
        body,
        duplex: "half",
      } as RequestInit),
    );
    assert.equal(answer.status, type === "application/proto" ? 401 : 200);
    assert.equal(answer.headers.get("www-authenticate"), 'Bearer realm="fairlead"');
    assert.match(await answer.text(), /bearer token is required|bearer%20token%20is%20required/);
    assert.equal(pulled, 0);
  }
});

test("a web page reads no secrets unless it is allowed to, also on a server without access rules", async () => {
  const read = async (access: ConfigInput["access"], headers: Record<string, string>) => {
    const secrets = { default: { type: "values" as const, values: { db: "s3cret" } } };
    await using server = createServer({ config: { secrets, access } });
    const answer = await server.fetch(
      new Request("http://edge/spec.proto.runtime.v1.Runtime/GetSecret", {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ storeName: "default", key: "db" }),
      }),
    );
    return { status: answer.status, text: await answer.text() };
  };
  const page = { origin: "http://localhost:5173" };
  const refused = await read(undefined, page);
  assert.equal(refused.status, 403);
  assert.match(refused.text, /secrets are not for web pages/);
  assert.doesNotMatch(refused.text, /s3cret/);
  assert.equal((await read(undefined, { "sec-fetch-site": "same-origin" })).status, 403);
  assert.equal((await read(undefined, {})).status, 200);
  assert.equal((await read({ secretsFromBrowsers: true }, page)).status, 200);
  const tokens = [
    { token: ADMIN, subject: "a", rules: [{ primitive: "secrets" as const, verbs: ["read"] }] },
  ];
  const authorization = `Bearer ${ADMIN}`;
  assert.equal((await read({ tokens }, { ...page, authorization })).status, 403);
  assert.equal((await read({ tokens, secretsFromBrowsers: true }, { ...page, authorization })).status, 200);
  assert.equal((await read({ tokens, secretsFromBrowsers: true }, page)).status, 401);
});

test("health needs no token, reflection does", async () => {
  await using server = createServer({ config });
  const post = (path: string, headers: Record<string, string> = {}) =>
    server.fetch(
      new Request(`http://edge/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: "{}",
      }),
    );
  assert.equal((await post("grpc.health.v1.Health/Check")).status, 200);
  const reflection = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  const type = { "content-type": "application/connect+json" };
  assert.match(await (await post(reflection, type)).text(), /unauthenticated/);
  const known = await post(reflection, { ...type, authorization: `Bearer ${READER}` });
  assert.doesNotMatch(await known.text(), /unauthenticated/);
});

test("a new key of the issuer is fetched, but not within the cooldown", async () => {
  await using issuer = await openIssuer();
  const roles = { any: [{ primitive: "*" as const, verbs: ["*"] }] };
  const access = { jwt: { ...jwtOf(issuer), cooldownMs: 0 }, roles };
  await using at = await openInProcess({ config: { access } });
  const call = (token: string) =>
    raw(withToken(at.server.transport({ trusted: false }), token))
      .state()
      .get("k");
  const old = await issuer.sign({ roles: "any" });
  await call(old);
  await call(old);
  assert.equal(issuer.asked(), 1);
  await issuer.rotate();
  await call(await issuer.sign({ roles: "any" }));
  assert.equal(issuer.asked(), 2);
  assert.equal((await failure(call(old))).code, Code.Unauthenticated);

  await using slow = await openInProcess({ config: { access: { jwt: jwtOf(issuer), roles } } });
  const patient = (token: string) =>
    raw(withToken(slow.server.transport({ trusted: false }), token))
      .state()
      .get("k");
  await patient(await issuer.sign({ roles: "any" }));
  const asked = issuer.asked();
  await issuer.rotate();
  const early = await issuer.sign({ roles: "any" });
  for (let i = 0; i < 3; i++) assert.equal((await failure(patient(early))).code, Code.Unauthenticated);
  assert.equal(issuer.asked(), asked);
});

test("a server starts while its issuer is unreachable: calls are unavailable, and only some of them ask it", async () => {
  await using issuer = await openIssuer();
  issuer.answerWith(503);
  const roles = { any: [{ primitive: "*" as const, verbs: ["*"] }] };
  const tokens = [{ token: ADMIN, subject: "admin", roles: ["any"] }];
  await using at = await openInProcess({ config: { access: { tokens, jwt: jwtOf(issuer), roles } } });
  const call = (token: string) =>
    raw(withToken(at.server.transport({ trusted: false }), token))
      .state()
      .get("k");
  const token = await issuer.sign({ roles: ["any"] });
  for (let i = 0; i < 5; i++) {
    const error = await failure(call(token));
    assert.equal(error.code, Code.Unavailable);
    assert.match(error.rawMessage, /keys to check bearer tokens with cannot be fetched/);
  }
  assert.equal(issuer.asked(), 1);
  await call(ADMIN);
  issuer.answerWith(200);
  await new Promise((resolve) => setTimeout(resolve, 1050));
  await call(token);
});

test("roles are read from the claim's name or its path with dots, as a list or a text", async () => {
  await using issuer = await openIssuer();
  const roles = { reader: [{ primitive: "state" as const, verbs: ["read"] }] };
  const may = async (roleClaim: string, claims: Record<string, unknown>) => {
    await using at = await openInProcess({
      config: { access: { jwt: { ...jwtOf(issuer), roleClaim }, roles } },
    });
    const transport = withToken(at.server.transport({ trusted: false }), await issuer.sign(claims));
    return await raw(transport)
      .state()
      .get("k")
      .then(
        () => true,
        (error: ConnectError) => error.code,
      );
  };
  assert.equal(await may("scope", { scope: "writer reader" }), true);
  assert.equal(await may("realm_access.roles", { realm_access: { roles: ["reader"] } }), true);
  assert.equal(await may("https://x.example/roles", { "https://x.example/roles": ["reader"] }), true);
  assert.equal(await may("roles", { roles: ["constructor", "__proto__"] }), Code.PermissionDenied);
  assert.equal(await may("roles", { roles: { reader: true } }), Code.PermissionDenied);
});

test("a JWT that is signed with a shared secret, or not signed, is refused", async () => {
  await using issuer = await openIssuer();
  const roles = { any: [{ primitive: "*" as const, verbs: ["*"] }] };
  await using at = await openInProcess({ config: { access: { jwt: jwtOf(issuer), roles } } });
  const { SignJWT, UnsecuredJWT } = await import("jose");
  const claims = { iss: "https://issuer.example", aud: "fairlead", sub: "eve", roles: ["any"] };
  const secret = new TextEncoder().encode("0123456789abcdef0123456789abcdef");
  const forged = [
    await new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).setExpirationTime("1m").sign(secret),
    `${new UnsecuredJWT(claims).setExpirationTime("1m").encode()}x`,
  ];
  for (const token of forged) {
    const transport = withToken(at.server.transport({ trusted: false }), token);
    assert.equal((await failure(raw(transport).state().get("k"))).code, Code.Unauthenticated);
  }
});

test("calls without a token have the anonymous role; beyond its rights they are unauthenticated", async () => {
  const access: ConfigInput["access"] = {
    anonymous: "public",
    tokens: [{ token: ADMIN, subject: "writer", rules: [{ primitive: "state", verbs: ["write"] }] }],
    roles: { public: [{ primitive: "state", verbs: ["read"] }] },
  };
  await using at = await openInProcess({ config: { access } });
  const transport = at.server.transport({ trusted: false });
  const anyone = raw(transport);
  assert.equal(await anyone.state().get("k"), undefined);
  assert.equal((await failure(anyone.state().set("k", 1))).code, Code.Unauthenticated);
  const writer = raw(withToken(transport, ADMIN));
  await writer.state().set("k", 1);
  assert.equal((await writer.state().get("k"))?.value, 1);
  const bad = raw(withToken(transport, "unknown-0123456789"));
  assert.equal((await failure(bad.state().get("k"))).code, Code.Unauthenticated);
});

test("an HTTP GET needs a token, too", async () => {
  await using at = await overHttp((url) => createNodeTransport(url))({ config });
  const message = encodeURIComponent(JSON.stringify({ storeName: "default", key: "k" }));
  const url = `${at.url}/spec.proto.runtime.v1.Runtime/GetState?connect=v1&encoding=json&message=${message}`;
  assert.equal((await fetch(url)).status, 401);
  assert.equal((await fetch(url, { headers: { authorization: `Bearer ${READER}` } })).status, 200);
  const health = await new Promise<number | undefined>((resolve, reject) => {
    http1Request(`${at.url}/healthz`, (response) => resolve(response.resume().statusCode))
      .on("error", reject)
      .end();
  });
  assert.equal(health, 200);
});
