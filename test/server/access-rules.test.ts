import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { test } from "vitest";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { GossipMapService, MessageSchema } from "../../gen/atomix/map/map_pb.js";
import { GetRequestSchema, MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createClient, withToken } from "../../src/index.js";
import { isLoopback } from "../../src/lib/loopback.js";
import { sameBytes } from "../../src/rpc/bearer-token.js";
import { permissionOf } from "../../src/server/access/permissions.js";
import { type AccessRule, permits } from "../../src/server/access/rules.js";
import { type ConfigInput, createServer, parseConfig } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { PRIMITIVE_NAMES } from "../../src/server/primitives.js";
import { failure } from "../decisions/failure.js";
import { openInProcess } from "../support/protocols.js";

const TOKEN = "caller-0123456789abcdef";

const deed = fc.record({
  primitive: fc.constantFrom(...PRIMITIVE_NAMES),
  rpc: fc.constantFrom("GetState", "SaveState", "Backup"),
  verbs: fc.constantFrom<("read" | "write")[]>(["read"], ["write"], ["read", "write"], []),
});
const store = fc.constantFrom("a", "ab", "abc", "b", "default");
const rule: fc.Arbitrary<AccessRule> = fc.record({
  primitive: fc.constantFrom(...PRIMITIVE_NAMES, "*" as const),
  store: fc.option(fc.constantFrom("a", "a*", "ab", "ab*", "*", "b"), { nil: undefined }),
  verbs: fc.subarray(["read", "write", "GetState", "SaveState", "Backup", "*"], { minLength: 1 }),
});

test("permits(): no rule, no right; each further rule only adds rights", () => {
  fc.assert(
    fc.property(fc.array(rule), rule, deed, store, (rules, more, what, at) => {
      assert.equal(permits([], what, at), false);
      if (permits(rules, what, at)) assert.equal(permits([more, ...rules], what, at), true);
    }),
  );
});

test("permits(): a right on one store is a right on some store; a rule without a store covers every store", () => {
  fc.assert(
    fc.property(fc.array(rule), deed, store, (rules, what, at) => {
      if (permits(rules, what, at)) assert.equal(permits(rules, what), true);
      const everywhere = rules.map(({ primitive, verbs }) => ({ primitive, verbs }));
      assert.equal(permits(everywhere, what, at), permits(everywhere, what));
    }),
  );
});

test("permits(): each requested verb must be allowed by a rule about that primitive and store", () => {
  fc.assert(
    fc.property(fc.array(rule), deed, store, (rules, what, at) => {
      const about = rules.filter(
        (each) =>
          (each.primitive === "*" || each.primitive === what.primitive) &&
          (each.store === undefined ||
            each.store === at ||
            (each.store.endsWith("*") && at.startsWith(each.store.slice(0, -1)))),
      );
      const has = (verb: string) => about.some(({ verbs }) => verbs.includes(verb));
      const expected = has("*") || has(what.rpc) || (what.verbs.length > 0 && what.verbs.every(has));
      assert.equal(permits(rules, what, at), expected);
    }),
  );
});

test("every RPC needs a permission, and the reads of the contract need only read", () => {
  for (const service of [Runtime, Lifecycle, LogService, MapService, GossipMapService]) {
    for (const method of service.methods) {
      const question = permissionOf(method);
      assert.ok(question, method.name);
      // The contract's level 1 is NO_SIDE_EFFECTS.
      if (method.idempotency === 1) assert.deepEqual(question.verbs, ["read"], method.name);
    }
  }
});

test("no name of a map in another namespace matches a rule about one's own map", () => {
  const nameOf = (namespace: string, name: string) =>
    permissionOf(MapService.method.get)?.store?.(
      create(GetRequestSchema, { header: { primitive: { namespace, name } } }) as never,
    );
  assert.equal(nameOf("", "carts"), "carts");
  assert.equal(nameOf("shop", "carts"), "shop/carts");
  const part = fc.stringMatching(/^[a/%25F]{0,6}$/);
  fc.assert(
    fc.property(part, part, part, part, (ns1, n1, ns2, n2) => {
      assert.equal(nameOf(ns1, n1) === nameOf(ns2, n2), ns1 === ns2 && n1 === n2);
    }),
  );
  const gossip = (namespace: string) =>
    permissionOf(GossipMapService.method.connect)?.store?.(
      create(MessageSchema, { target: { namespace, name: "m" } }) as never,
    );
  assert.deepEqual([gossip("default"), gossip(""), gossip("x")], ["m", "/m", "x/m"]);
});

test("a rule about a map means that of the facades' protocol group; rules about others name their group", async () => {
  const part = fc.stringMatching(/^[a/%25F]{0,4}$/);
  const nameOf = (protocol: [string, string], primitive: [string, string]) =>
    permissionOf(MapService.method.get)?.store?.(
      create(GetRequestSchema, {
        header: {
          protocol: { namespace: protocol[0], name: protocol[1] },
          primitive: { namespace: primitive[0], name: primitive[1] },
        },
      }) as never,
    );
  const two = fc.tuple(part, fc.oneof(part, fc.constant("default")));
  fc.assert(
    fc.property(two, two, two, two, (g1, m1, g2, m2) => {
      assert.equal(nameOf(g1, m1) === nameOf(g2, m2), `${[g1, m1]}` === `${[g2, m2]}`);
    }),
  );
  assert.equal(nameOf(["", "raft"], ["", "mine"]), "///raft/mine");
  const header = (name: string) => ({
    header: { protocol: { name }, primitive: { name: "mine" }, partition: 1 },
    key: "k",
  });
  await using it = await open([{ primitive: "map", store: "m*", verbs: ["read"] }]);
  assert.equal(await it.codeOf(it.fl.raw.map.get(header("default"))), undefined);
  assert.equal(await it.codeOf(it.fl.raw.map.get(header("raft"))), Code.PermissionDenied);
  await using raft = await open([{ primitive: "map", store: "///raft/*", verbs: ["read"] }]);
  assert.equal(await raft.codeOf(raft.fl.raw.map.get(header("raft"))), undefined);
  assert.equal(await raft.codeOf(raft.fl.raw.map.get(header("default"))), Code.PermissionDenied);
});

test("a rule may name a primitive by the configuration's key of its components", () => {
  const rules = JSON.parse(
    '[{ "primitive": "services", "verbs": ["*"] }, { "primitive": "logs", "verbs": ["*"] }]',
  );
  const { access } = parseConfig({ access: { roles: { all: rules }, anonymous: "all" } });
  assert.deepEqual(
    access.roles["all"]?.map(({ primitive }) => primitive),
    ["service", "log"],
  );
});

/** A server whose caller has `rules`. `code` is the code of the caller's call; undefined if it succeeds. */
async function open(rules: NonNullable<NonNullable<ConfigInput["access"]>["tokens"]>[number]["rules"]) {
  const at = await openInProcess({
    config: {
      state: { default: {}, carts: {} },
      pubsub: { default: {}, orders: {} },
      files: { default: {}, public: {} },
      configuration: { default: {}, shop: {} },
      lock: { default: {}, jobs: {} },
      services: { billing: { url: "http://127.0.0.1:9" } },
      access: { tokens: [{ token: TOKEN, subject: "caller", rules: rules ?? [] }] },
    },
  });
  const fl = createClient(withToken(at.server.transport({ trusted: false }), TOKEN), { retry: false });
  const codeOf = async (call: Promise<unknown>) =>
    await call.then(
      () => undefined,
      (error: unknown) => ConnectError.from(error).code,
    );
  const first = async (stream: AsyncIterable<unknown>) => {
    for await (const _ of stream) return;
  };
  return { at, fl, codeOf, first, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

test("the store of each message of a stream is checked", async () => {
  await using it = await open([
    { primitive: "configuration", store: "shop", verbs: ["read"] },
    { primitive: "pubsub", store: "orders", verbs: ["read"] },
    { primitive: "files", store: "public", verbs: ["write"] },
    { primitive: "gossipMap", store: "mine", verbs: ["read", "write"] },
    { primitive: "map", store: "mine", verbs: ["write"] },
  ]);
  const { runtime, gossipMap, map } = it.fl.raw;
  const subscribe = (...storeNames: string[]) =>
    it.codeOf(
      (async () => {
        const requests = async function* () {
          for (const storeName of storeNames) yield { storeName, appId: "a" };
          await new Promise((resolve) => setTimeout(resolve, 20));
        };
        for await (const _ of runtime.subscribeConfiguration(requests(), { timeoutMs: 200 }));
      })(),
    );
  assert.equal(await subscribe("shop", "default"), Code.PermissionDenied);
  assert.equal(await subscribe("shop"), Code.DeadlineExceeded);

  const initial = (pubsubName: string) =>
    it.codeOf(
      it.first(
        runtime.subscribeTopicEvents(
          (async function* () {
            yield {
              subscribeTopicEventsRequestType: {
                case: "initialRequest" as const,
                value: { pubsubName, topic: "t" },
              },
            };
          })(),
        ),
      ),
    );
  assert.equal(await initial("default"), Code.PermissionDenied);
  assert.equal(await initial("orders"), undefined);

  const put = (...storeNames: string[]) =>
    it.codeOf(
      runtime.putFile(
        (async function* () {
          for (const storeName of storeNames) yield { storeName, name: "f", data: new Uint8Array(1) };
        })(),
      ),
    );
  assert.equal(await put("default"), Code.PermissionDenied);
  assert.equal(await put("public", ""), undefined);

  const meet = (name: string) =>
    it.codeOf(
      it.first(
        gossipMap.connect(
          (async function* () {
            yield {
              source: "m1",
              target: { namespace: "default", name },
              message: { case: "updateRequest" as const, value: { keys: ["k"] } },
            };
          })(),
        ),
      ),
    );
  assert.equal(await meet("theirs"), Code.PermissionDenied);
  assert.equal(await meet("mine"), undefined);

  // Backups are not covered by "write": only their own verb, or "*", allows them.
  const header = { protocol: { name: "default" }, primitive: { name: "mine" }, partition: 1 };
  const backUp = it.first(
    map.backup(
      (async function* () {
        yield { header, entries: [] };
      })(),
    ),
  );
  assert.equal(await it.codeOf(backUp), Code.PermissionDenied);
});

test("names in headers are checked, too: a log, and the lock of a fence", async () => {
  await using it = await open([
    { primitive: "state", verbs: ["write"] },
    { primitive: "lock", store: "jobs", verbs: ["write"] },
    { primitive: "log", store: "audit/1", verbs: ["*"] },
  ]);
  const save = (fence: string) =>
    it.codeOf(
      it.fl.raw.runtime.saveState(
        { storeName: "default", states: [{ key: "k", value: new Uint8Array(1) }] },
        { headers: { "fairlead-fence": fence } },
      ),
    );
  assert.equal(await save("default/r=1"), Code.PermissionDenied);
  assert.equal(await save("jobs/r=1,default/r=1"), Code.PermissionDenied);
  assert.equal(await save("jobs/r=1"), Code.Aborted);
  assert.equal(await save("nonsense"), Code.InvalidArgument);
  const append = (log: string) => it.codeOf(it.fl.log(log).append([1]));
  assert.equal(await append("audit/1"), undefined);
  assert.equal(await append("audit"), Code.PermissionDenied);
});

test("a component is checked by the name of its kind, whatever the request calls it", async () => {
  await using it = await open([{ primitive: "lifecycle", store: "hello/*", verbs: ["write"] }]);
  const apply = (kind: string, name: string) =>
    it.codeOf(
      it.fl.raw.lifecycle.applyConfiguration({ componentConfig: { kind, name, metadata: { hello: "Hi" } } }),
    );
  assert.equal(await apply("hellos", "helloworld"), undefined);
  assert.equal(await apply("services", "billing"), Code.PermissionDenied);
  assert.equal(await apply("rpcs", "billing"), Code.PermissionDenied);
});

test("calls of this process itself are allowed everything", async () => {
  await using it = await open([{ primitive: "hello", verbs: ["read"] }]);
  assert.equal(await it.codeOf(it.fl.state().get("k")), Code.PermissionDenied);
  await createClient(it.at.transport).state().set("k", 1);
});

test("sameBytes() reads all bytes of both, wherever they differ", () => {
  const reads = (a: number[], b: number[]) => {
    let count = 0;
    const counted = (bytes: number[]) =>
      new Proxy(bytes, {
        get(target, name) {
          if (/^\d+$/.test(String(name))) count++;
          return Reflect.get(target, name);
        },
      });
    const same = sameBytes(counted(a), counted(b));
    return { same, count };
  };
  const hash = Array.from({ length: 32 }, (_, i) => i);
  for (let i = 0; i < 32; i++) {
    assert.deepEqual(reads(hash, hash.with(i, 255)), { same: false, count: 64 });
  }
  assert.deepEqual(reads(hash, hash), { same: true, count: 64 });
  assert.equal(sameBytes(hash, hash.slice(1)), false);
  assert.equal(sameBytes([], [1]), false);
});

test("neither a configuration error nor the server's own copy of the configuration contains a token", async () => {
  const problem = (access: unknown) => {
    try {
      createServer({ config: { access } as ConfigInput });
    } catch (error) {
      return (error as Error).message;
    }
    return assert.fail("it is taken");
  };
  const rules = [{ primitive: "*", verbs: ["*"] }];
  const bad = "s3cret with spaces in it";
  const told: [unknown, RegExp][] = [
    [
      { tokens: [{ token: "short", subject: "a", rules }] },
      /tokens\[0\]\.token: must have at least 16 characters/,
    ],
    [{ tokens: [{ token: bad, subject: "a", rules }] }, /tokens\[0\]\.token: must be letters, digits/],
    [{ tokens: [{ subject: "a", rules }] }, /must have one of token, tokenEnv and sha256/],
    [{ tokens: [{ token: TOKEN, subject: "a" }] }, /must have roles or rules/],
    [
      { tokens: [{ token: TOKEN, subject: "a", roles: ["x"] }] },
      /roles\[0\].*is not among roles; those that are: none/,
    ],
    [
      { tokens: [{ tokenEnv: "NOT_SET", subject: "a", rules }] },
      /tokens\[0\]\.tokenEnv "NOT_SET": this environment/,
    ],
    [{ tokens: [] }, /access\.tokens: must have at least one/],
    [{ roles: { a: rules } }, /access\.roles.*are nobody's/],
    [{ anonymous: "b", roles: { a: rules } }, /access\.anonymous "b": is not among roles; those that are: a/],
    [
      { anonymous: "a", roles: { a: [{ primitive: "state", verbs: ["PutFile"] }] } },
      /must be one of read, write, \*, GetState/,
    ],
    [{ anonymous: "a", roles: { a: [{ primitive: "stat", verbs: ["*"] }] } }, /must be one of state, lock/],
    [{ jwt: { issuer: "i", audience: "a" } }, /must have one of jwksUrl and jwks/],
    [{ jwt: { issuer: "i", jwksUrl: "https://i/jwks" } }, /access\.jwt\.audience/],
    [
      { jwt: { issuer: "i", audience: "a", jwksUrl: "https://i", algorithms: ["HS256"] } },
      /must be one of ES256/,
    ],
  ];
  for (const [access, right] of told) {
    const message = problem(access);
    assert.match(message, right);
    for (const token of [TOKEN, bad, "short"]) assert.ok(!message.includes(token), message);
  }
  await using it = await open([{ primitive: "hello", verbs: ["read"] }]);
  assert.ok(!JSON.stringify(it.at.server.config.access).includes(TOKEN));
});

test("listen() refuses a host that others can reach, unless access rules exist or the option allows it", async () => {
  const refused = listen(createServer(), { host: "0.0.0.0", port: 0 });
  await assert.rejects(refused, {
    name: "TypeError",
    message: /^Cannot listen on "0\.0\.0\.0": .*`access`.*127\.0\.0\.1.*--insecure/,
  });
  await using _ = await listen(createServer(), { host: "0.0.0.0", port: 0, insecure: true });
  const rules = [{ primitive: "*" as const, verbs: ["*"] }];
  const access = { tokens: [{ token: TOKEN, subject: "a", rules }] };
  await using guarded = await listen(createServer({ config: { access } }), { host: "0.0.0.0", port: 0 });
  const { createNodeTransport } = await import("../../src/node.js");
  await using fl = createClient(createNodeTransport(`http://127.0.0.1:${guarded.port}`));
  assert.equal((await failure(fl.state().get("k"))).code, Code.Unauthenticated);
});

test("isLoopback() accepts all names and addresses of this machine, and no others", () => {
  for (const host of [
    "127.0.0.1",
    "127.1.2.3",
    "localhost",
    "LOCALHOST",
    "::1",
    "[::1]",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
  ]) {
    assert.equal(isLoopback(host), true, host);
  }
  for (const host of [
    "",
    "0.0.0.0",
    "::",
    "10.0.0.1",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "::2",
    "fe80::1",
  ]) {
    assert.equal(isLoopback(host), false, host);
  }
});

test("jose is loaded only by the first JWT", () => {
  const src = join(import.meta.dirname, "../../src");
  const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".ts"),
  );
  for (const file of files) {
    const text = readFileSync(join(src, file), "utf8");
    assert.doesNotMatch(text, /^(import|export) (?!type )[^;]*from "jose/m, file);
    if (/import\("jose/.test(text)) assert.equal(file, "server/access/jwt.ts");
  }
});
