import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, test } from "vitest";
import { REQUEST_ID_HEADER } from "../../src/rpc/extension-headers.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { openEcho, SAY, type SayImpl } from "./echo-server.js";
import { envelope, type RawAnswer, type RawClient, rawHttp1, rawHttp2 } from "./raw-http.js";

const BINARY = Buffer.from([0x0a, 2, 0x68, 0x69]);

const unhandled: unknown[] = [];
const note = (reason: unknown) => void unhandled.push(reason);
beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", note);
});
afterEach(() => {
  process.off("unhandledRejection", note);
  assert.deepEqual(unhandled, []);
});

const WIRES = [
  { name: "Connect over HTTP/1.1", type: "application/proto", raw: rawHttp1 },
  { name: "Connect over HTTP/2", type: "application/proto", raw: rawHttp2 },
  { name: "gRPC", type: "application/grpc", raw: rawHttp2 },
  { name: "gRPC-Web over HTTP/1.1", type: "application/grpc-web", raw: rawHttp1 },
  { name: "gRPC-Web over HTTP/2", type: "application/grpc-web", raw: rawHttp2 },
];

/** The trailers of a response of gRPC or gRPC-Web. */
function trailersOf({ trailers, body, headers }: RawAnswer): Record<string, unknown> {
  if (!String(headers["content-type"]).startsWith("application/grpc-web")) return trailers;
  const at = body.indexOf(0x80);
  const lines = body
    .subarray(at + 5)
    .toString()
    .split("\r\n")
    .filter(Boolean);
  return Object.fromEntries(lines.map((line) => line.split(/: (.*)/s).slice(0, 2)));
}

const isConnect = (type: string) => !type.startsWith("application/grpc");

function codeOf(type: string, answer: RawAnswer): string | number {
  if (!isConnect(type)) return Number(trailersOf(answer)["grpc-status"]);
  return answer.status === 200 ? 0 : JSON.parse(answer.body.toString()).code;
}

const ask = (client: RawClient, type: string, headers: Record<string, string> = {}, path = SAY) =>
  client({
    path,
    headers: { "content-type": type, ...headers },
    body: [isConnect(type) ? BINARY : envelope(BINARY)],
  }).answer;

for (const { name, type, raw } of WIRES) {
  describe(name, () => {
    for (const isAsync of [false, true]) {
      test(`a refusal of admit, ${isAsync ? "later" : "at once"}: its metadata is in the headers and in gRPC's trailers`, async () => {
        const refusal = () =>
          new ConnectError("who are you?", Code.Unauthenticated, {
            "www-authenticate": 'Bearer realm="x"',
            "x-meta": "1",
          });
        let ran = false;
        await using at = await openEcho({
          say(text) {
            ran = true;
            return text;
          },
          beforeAdmission: isAsync
            ? () => Promise.reject(refusal())
            : () => {
                throw refusal();
              },
        });
        using client = raw(at.url);
        const answer = await ask(client, type);
        assert.equal(codeOf(type, answer), isConnect(type) ? "unauthenticated" : Code.Unauthenticated);
        assert.equal(answer.status, isConnect(type) ? 401 : 200);
        assert.equal(answer.headers["www-authenticate"], 'Bearer realm="x"');
        assert.equal(answer.headers["x-meta"], "1");
        if (!isConnect(type)) {
          assert.equal(trailersOf(answer)["www-authenticate"], 'Bearer realm="x"');
          assert.equal(trailersOf(answer)["x-meta"], "1");
        }
        assert.deepEqual([ran, at.counts.admitted, at.counts.ends], [false, 0, []]);
      });
    }

    test("the server itself: a call without a token is refused with www-authenticate and one request id", async () => {
      const tokens = [{ token: "ada-0123456789abcdef", subject: "ada", roles: ["any"] }];
      const roles = { any: [{ primitive: "*" as const, verbs: ["*" as const] }] };
      const config = { access: { tokens, roles } };
      const server = createServer({ config });
      const listening = await listen(server, { port: 0 });
      using client = raw(listening.url);
      const path = "/spec.proto.runtime.v1.Runtime/GetState";
      const answer = await ask(client, type, { "x-request-id": "mine" }, path);
      assert.equal(codeOf(type, answer), isConnect(type) ? "unauthenticated" : Code.Unauthenticated);
      assert.match(String(answer.headers["www-authenticate"]), /^Bearer/);
      assert.equal(answer.headers[REQUEST_ID_HEADER], "mine");
      if (!isConnect(type)) assert.equal(trailersOf(answer)[REQUEST_ID_HEADER], undefined);
      await listening.close();
    });

    test("connection headers of a handler, or of the error of a server that it called, are not sent", async () => {
      const hop = {
        connection: "keep-alive",
        "keep-alive": "timeout=77",
        "transfer-encoding": "chunked",
        upgrade: "x",
        te: "gzip",
      };
      const say: SayImpl = (text, { responseHeader, responseTrailer, requestHeader }) => {
        const where = requestHeader.get("x-where");
        const metadata = new Headers({ ...hop, "x-kept": "1" });
        if (where === "header") metadata.forEach((value, key) => void responseHeader.set(key, value));
        if (where === "trailer") metadata.forEach((value, key) => void responseTrailer.set(key, value));
        if (where === "error") throw new ConnectError("no", Code.Aborted, metadata);
        return text;
      };
      await using at = await openEcho({ say });
      using client = raw(at.url);
      for (const where of ["header", "trailer", "error"]) {
        const answer = await ask(client, type, { "x-where": where });
        const isError = where === "error";
        assert.equal(codeOf(type, answer), !isError ? 0 : isConnect(type) ? "aborted" : Code.Aborted, where);
        const all = { ...answer.headers, ...trailersOf(answer) };
        const kept = where === "trailer" && isConnect(type) ? "trailer-x-kept" : "x-kept";
        assert.equal(all[kept], "1", where);
        assert.equal(all["upgrade"], undefined);
        assert.notEqual(all["keep-alive"], hop["keep-alive"]);
        if (raw === rawHttp2) assert.equal(all["connection"], undefined);
      }
      assert.deepEqual(at.counts.broken, []);
    });

    test("a text that is no Unicode is sent with replacement characters", async () => {
      const say: SayImpl = () => {
        throw new ConnectError("half \ud800 a pair", Code.Aborted);
      };
      await using at = await openEcho({ say });
      using client = raw(at.url);
      const answer = await ask(client, type);
      assert.equal(codeOf(type, answer), isConnect(type) ? "aborted" : Code.Aborted);
      if (!isConnect(type))
        assert.equal(decodeURIComponent(String(trailersOf(answer)["grpc-message"])), "half \ufffd a pair");
    });

    test("an error detail that does not fit its type is an internal error", async () => {
      const say: SayImpl = () => {
        const value = create(DurationSchema);
        value.seconds = "many" as never;
        throw new ConnectError("no", Code.Aborted, undefined, [{ desc: DurationSchema, value }]);
      };
      await using at = await openEcho({ say });
      using client = raw(at.url);
      const answer = await ask(client, type);
      const code = codeOf(type, answer);
      // Connect leaves out details that it cannot encode.
      assert.ok(
        isConnect(type) ? ["aborted", "internal"].includes(String(code)) : code === Code.Internal,
        String(code),
      );
      assert.equal(at.counts.ends.length, 1);
    });
  });
}
