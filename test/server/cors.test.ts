import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { createClient } from "../../src/index.js";
import { type ConfigInput, createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createWebTransport } from "../../src/web.js";

type Ask = (path: string, init?: RequestInit) => Promise<Response>;

/** listen() and fetch(): both apply the same rules to browsers. */
const entryPoints: [name: string, open: (config?: ConfigInput) => Promise<{ ask: Ask } & AsyncDisposable>][] =
  [
    [
      "on a port",
      async (config = {}) => {
        const at = await listen(createServer({ config }), { port: 0 });
        return { ask: (path, init) => fetch(at.url + path, init), [Symbol.asyncDispose]: at.close };
      },
    ],
    [
      "the fetch handler",
      async (config = {}) => {
        const server = createServer({ config });
        const ask: Ask = (path, init) => server.fetch(new Request(`http://edge${path}`, init));
        return { ask, [Symbol.asyncDispose]: server.close };
      },
    ],
  ];

const PATH = "/spec.proto.runtime.v1.Runtime/GetState";
const call = (origin?: string): RequestInit => ({
  method: "POST",
  headers: { ...(origin && { origin }), "content-type": "application/json" },
  body: JSON.stringify({ storeName: "default", key: "k" }),
});
const preflight = (origin: string, headers = "content-type"): RequestInit => ({
  method: "OPTIONS",
  headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": headers },
});
const allowed = (response: Response) => response.headers.get("access-control-allow-origin");
const app = { cors: { origins: ["https://app.example", "https://*.app.example", "http://dev:*"] } };

for (const [name, open] of entryPoints) {
  describe(name, () => {
    test("a page of a listed origin may call, send the headers of Connect and Fairlead, and read every header", async () => {
      await using at = await open(app);
      const asked = await at.ask(PATH, preflight("https://app.example", "Fairlead-HTTP-X, content-type"));
      assert.equal(asked.status, 204);
      assert.equal(allowed(asked), "https://app.example");
      assert.equal(asked.headers.get("access-control-allow-methods"), "POST, GET");
      assert.equal(asked.headers.get("access-control-max-age"), "7200");
      assert.equal(asked.headers.get("vary"), "origin, access-control-request-headers");
      const names = asked.headers.get("access-control-allow-headers")?.split(", ") ?? [];
      const needed = [
        "content-type",
        "connect-protocol-version",
        "connect-timeout-ms",
        "x-grpc-web",
        "grpc-timeout",
      ];
      const ours = ["authorization", "fairlead-fence", "fairlead-log", "fairlead-app-id", "fairlead-http-x"];
      for (const each of [...needed, ...ours]) assert.ok(names.includes(each), each);
      assert.equal(names.length, new Set(names).size);

      const answer = await at.ask(PATH, call("https://app.example"));
      assert.equal(answer.status, 200);
      assert.equal(allowed(answer), "https://app.example");
      assert.equal(answer.headers.get("access-control-expose-headers"), "*");
      assert.equal(answer.headers.get("access-control-allow-headers"), null);
      assert.equal(answer.headers.get("vary"), "origin");
    });

    test("no response has CORS headers for a page of another origin", async () => {
      await using at = await open(app);
      const strangers = [
        "https://evil.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://evilapp.example",
        "https://.app.example",
        "http://dev.evil.example:80",
        "http://dev:80:80",
        "null",
      ];
      for (const origin of strangers) {
        const answers = [
          await at.ask(PATH, preflight(origin)),
          await at.ask(PATH, call(origin)),
          await at.ask("/readyz", { headers: { origin } }),
          await at.ask("/nothing", { headers: { origin } }),
        ];
        for (const answer of answers) {
          const names = [...answer.headers.keys()].filter((header) => header.startsWith("access-control-"));
          assert.deepEqual(names, [], origin);
          assert.match(answer.headers.get("vary") ?? "", /^origin/);
        }
      }
      const withoutOrigin = await at.ask(PATH, call());
      assert.equal(allowed(withoutOrigin), null);
      assert.equal(withoutOrigin.headers.get("vary"), "origin");
    });

    test("* instead of a name or a port matches any of them", async () => {
      await using at = await open(app);
      for (const origin of [
        "https://a.app.example",
        "https://a.b.app.example",
        "http://dev",
        "http://dev:5173",
      ]) {
        assert.equal(allowed(await at.ask(PATH, call(origin))), origin);
      }
    });

    test('"*" allows every page, so responses have no Vary header', async () => {
      await using at = await open({ cors: { origins: ["*"] } });
      for (const origin of ["https://anyone.example", "null"]) {
        const answer = await at.ask(PATH, call(origin));
        assert.equal(allowed(answer), "*");
        assert.equal(answer.headers.get("vary"), null);
      }
      assert.equal(allowed(await at.ask(PATH, preflight("https://anyone.example"))), "*");
    });

    test("without a list, only pages of this machine may call", async () => {
      await using at = await open();
      for (const origin of [
        "http://localhost:5173",
        "http://127.0.0.1:8080",
        "https://[::1]",
        "http://localhost",
      ]) {
        assert.equal(allowed(await at.ask(PATH, call(origin))), origin);
      }
      for (const origin of [
        "https://app.example",
        "http://localhost.evil.example",
        "http://192.168.0.2:5173",
      ]) {
        assert.equal(allowed(await at.ask(PATH, call(origin))), null);
      }
    });

    test("credentials: listed pages may send them, and read every header by its name", async () => {
      await using at = await open({ cors: { origins: ["https://app.example"], credentials: true } });
      const asked = await at.ask(PATH, preflight("https://app.example", "x-mine"));
      assert.equal(asked.headers.get("access-control-allow-credentials"), "true");
      assert.equal(asked.headers.get("access-control-expose-headers"), null);
      assert.equal(allowed(asked), "https://app.example");
      const answer = await at.ask(PATH, call("https://app.example"));
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get("access-control-allow-credentials"), "true");
      const exposed = answer.headers.get("access-control-expose-headers")?.split(", ") ?? [];
      for (const name of ["fairlead-server", "content-type"]) assert.ok(exposed.includes(name), name);
      assert.ok(!exposed.includes("*"));
      // Other pages get no such header.
      const stranger = await at.ask(PATH, preflight("https://evil.example"));
      assert.equal(stranger.headers.get("access-control-allow-credentials"), null);
    });

    test("without the option no page may send credentials", async () => {
      await using at = await open(app);
      const answer = await at.ask(PATH, call("https://app.example"));
      assert.equal(answer.headers.get("access-control-allow-credentials"), null);
    });

    test("an empty list allows no page", async () => {
      await using at = await open({ cors: { origins: [] } });
      assert.equal(allowed(await at.ask(PATH, call("http://localhost:5173"))), null);
    });
  });
}

test('credentials together with "*" are refused', () => {
  assert.throws(
    () => createServer({ config: { cors: { origins: ["https://app.example", "*"], credentials: true } } }),
    /cors\.credentials true: must be false where origins has "\*"/,
  );
});

test("a page's own fetch sends credentials", async () => {
  await using at = await listen(createServer(), { port: 0 });
  const sent: (string | undefined)[] = [];
  const transport = createWebTransport(at.url, {
    fetch: (input, init) => {
      const asked = { ...init, credentials: "include" } as const;
      sent.push(asked.credentials);
      return fetch(input, asked);
    },
  });
  await using fl = createClient(transport);
  assert.equal(await fl.hello().say("Ada"), "Hello, Ada");
  assert.deepEqual(sent, ["include"]);
});

test("an origin that no browser sends is refused with its position and the expected form", () => {
  const refused = (origin: string, message: RegExp) =>
    assert.throws(() => createServer({ config: { cors: { origins: ["*", origin] } } }), message);
  refused("app.example", /cors\.origins.*1.*must be "\*" or an origin without a path/);
  refused("https://app.example/", /must be "\*" or an origin/);
  refused("https://app.*.example", /must be "\*" or an origin/);
  refused("HTTPS://APP.example", /must be "\*" or an origin/);
  refused("https://app.example:443", /must not name port 443: browsers leave it out/);
});
