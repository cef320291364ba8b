import assert from "node:assert/strict";
import { Code, createRouterTransport, type Transport } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createClient, withToken } from "../../src/index.js";
import { createNodeTransport, serveCallbacks } from "../../src/node.js";
import type { ConfigInput } from "../../src/server/index.js";
import { nodePlatform } from "../../src/server/node.js";
import { createWebTransport } from "../../src/web.js";
import { failure } from "../decisions/failure.js";
import { forEachProtocol, openInProcess, overHttp } from "../support/protocols.js";

const GOOD = "good-0123456789abcdef";
const OLD = "old-0123456789abcdef";

const config: ConfigInput = {
  access: { tokens: [{ token: GOOD, subject: "app", rules: [{ primitive: "*", verbs: ["*"] }] }] },
};

/** Gives each of `tokens` once, the last one for ever, and keeps what it was told of refused ones. */
function giving(...tokens: string[]) {
  const refusals: (string | undefined)[] = [];
  const token = (refused?: string) => {
    refusals.push(refused);
    return Promise.resolve(tokens[Math.min(refusals.length, tokens.length) - 1] ?? "");
  };
  return { token, refusals };
}

forEachProtocol("download", (open) => {
  test("a function is asked for the token of each call, and again for a call that was refused", async () => {
    await using at = await open({ config });
    const inHere = at.url === "" ? at.server.transport({ trusted: false }) : at.transport;
    const { token, refusals } = giving(OLD, GOOD);
    const fl = createClient(inHere, { token, retry: false });
    await fl.state().set("k", 1);
    assert.deepEqual(refusals, [undefined, OLD]);
    assert.equal((await fl.state().get("k"))?.value, 1);
    assert.deepEqual(refusals, [undefined, OLD, undefined]);

    const streamed = giving(OLD, GOOD);
    const stream = createClient(inHere, { token: streamed.token, retry: false }).raw.runtime.getFile({
      storeName: "default",
      name: "none",
    });
    const error = await failure(drained(stream));
    assert.equal(error.code, Code.NotFound);
    assert.deepEqual(streamed.refusals, [undefined, OLD]);
  });

  test("a call is refused for good, and not made again, where the function has no other token", async () => {
    await using at = await open({ config });
    const inHere = at.url === "" ? at.server.transport({ trusted: false }) : at.transport;
    const { token, refusals } = giving(OLD);
    let made = 0;
    const counted: Transport = {
      unary: (...call) => {
        made++;
        return inHere.unary(...call);
      },
      stream: (...call) => {
        made++;
        return inHere.stream(...call);
      },
    };
    const { runtime } = createClient(counted, { token }).raw;
    assert.equal(
      (await failure(runtime.getState({ storeName: "default", key: "k" }))).code,
      Code.Unauthenticated,
    );
    assert.deepEqual(refusals, [undefined, OLD]);
    assert.equal(made, 1);
    const stream = drained(runtime.getFile({ storeName: "default", name: "n" }));
    assert.equal((await failure(stream)).code, Code.Unauthenticated);
    assert.equal(made, 2);
  });
});

forEachProtocol("upload", (open) => {
  test("an upload carries its token, and is not made twice", async () => {
    await using at = await open({ config });
    const inHere = at.url === "" ? at.server.transport({ trusted: false }) : at.transport;
    const { token, refusals } = giving(OLD, GOOD);
    const fl = createClient(inHere, { token });
    let begun = 0;
    const upload = async function* () {
      begun++;
      yield { storeName: "default", name: "a", data: new Uint8Array(3) };
    };
    assert.equal((await failure(fl.raw.runtime.putFile(upload()))).code, Code.Unauthenticated);
    assert.deepEqual(refusals, [undefined]);
    assert.ok(begun <= 1);
    await fl.raw.runtime.putFile(upload());
    assert.equal((await fl.files().stat("a"))?.size, 3);
  });
});

test("both transports take the token themselves", async () => {
  for (const dial of [createNodeTransport, createWebTransport]) {
    await using at = await overHttp((url) => dial(url, { token: GOOD }))({ config });
    await createClient(at.transport).state().set("k", 1);
  }
});

test("a call with an authorization header of its own keeps it", async () => {
  const seen: (string | null)[] = [];
  const transport = createRouterTransport((router) => {
    router.service(Runtime, {
      getState: (_, { requestHeader }) => {
        seen.push(requestHeader.get("authorization"));
        return {};
      },
    });
  });
  const fl = createClient(withToken(transport, GOOD));
  await fl.state().get("k");
  await fl.state().get("k", { headers: { authorization: "Bearer other" } });
  assert.deepEqual(seen, [`Bearer ${GOOD}`, "Bearer other"]);
});

test("a token that is none is not sent, and not quoted", async () => {
  for (const token of ["", "two words", "line\nbreak", "ümlaut"]) {
    const call = createClient(unreached, { token }).state().get("k");
    await assert.rejects(call, (error: Error) => {
      assert.match(error.message, /the token must be letters, digits/);
      assert.ok(token === "" || !error.message.includes(token));
      return true;
    });
  }
});

test("what the function throws is what the call fails with", async () => {
  const token = () => Promise.reject(new RangeError("the identity provider is away"));
  await assert.rejects(createClient(unreached, { token }).state().get("k"), RangeError);
});

test("a token is waited for no longer than the call's signal and deadline allow", async () => {
  const token = () => new Promise<string>(() => {});
  const fl = createClient(unreached, { token });
  const late = await failure(fl.state().get("k", { timeoutMs: 20 }));
  assert.equal(late.code, Code.DeadlineExceeded);
  const giveUp = new AbortController();
  const call = failure(fl.state().get("k", { signal: giveUp.signal }));
  giveUp.abort();
  assert.equal((await call).code, Code.Canceled);
  assert.equal((await failure(fl.state().get("k", { signal: AbortSignal.abort() }))).code, Code.Canceled);
});

test("an app that asks for a token takes the events of the runtime that has it, and no other calls", async () => {
  const told = new Set<string>();
  const handlers = { orders: ({ data }: { data: unknown }) => void told.add(String(data)) };
  await using app = await serveCallbacks(handlers, { port: 0, token: GOOD });
  const apps = { shop: { url: app.url, tokenEnv: "SHOP_TOKEN" } };
  await using at = await openInProcess({
    config: { apps },
    platform: { ...nodePlatform, env: { SHOP_TOKEN: GOOD } },
  });
  const pubsub = createClient(at.transport).pubsub();
  // What is published before the app has told what it wants waits for no one.
  for (let i = 0; told.size === 0; i++) {
    assert.ok(i < 500, "the app was never told");
    await pubsub.publish("orders", "of the runtime");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }

  const { AppCallback } = await import("../../gen/spec/proto/runtime/v1/appcallback_pb.js");
  const { createClient: createRaw } = await import("@connectrpc/connect");
  for (const token of [undefined, OLD]) {
    await using transport = createNodeTransport(app.url, token === undefined ? {} : { token });
    const stranger = createRaw(AppCallback, transport);
    assert.equal((await failure(stranger.listTopicSubscriptions({}))).code, Code.Unauthenticated);
    const event = {
      id: "1",
      pubsubName: "default",
      topic: "orders",
      data: new TextEncoder().encode('"forged"'),
    };
    const forged = stranger.onTopicEvent(event);
    assert.equal((await failure(forged)).code, Code.Unauthenticated);
  }
  assert.deepEqual([...told], ["of the runtime"]);
});

test("a primary backs up to a server that lets in no one else", async () => {
  const rules = [{ primitive: "map" as const, verbs: ["Backup"] }];
  const access = { tokens: [{ token: GOOD, subject: "primary", rules }] };
  const primary = "http://127.0.0.1:9";
  await using backup = await overHttp((url) => createNodeTransport(url))({
    config: { access, maps: { "/default": { primary } } },
  });
  const held = async (token: string) => {
    // Only a backup that refuses is waited for in vain.
    const group = { backups: [backup.url], token, ackTimeoutMs: token === OLD ? 100 : 10_000 };
    await using at = await openInProcess({ config: { maps: { "/default": group } } });
    const name = `map-of-${token}`;
    await createClient(at.transport).map<number>(name).put("k", 1);
    const entries: string[] = [];
    for await (const { key } of backup.server.engine.keys.list("map")) {
      if (key.includes(name) && key.endsWith("k")) entries.push(key);
    }
    return entries.length;
  };
  assert.equal(await held(OLD), 0);
  assert.equal(await held(GOOD), 1);
});

test("a server whose app's token is not in the environment does not start", async () => {
  const apps = { shop: { url: "http://127.0.0.1:9", tokenEnv: "SHOP_TOKEN" } };
  const cases: [Record<string, string>, RegExp][] = [
    [{}, /apps\["shop"\]\.tokenEnv "SHOP_TOKEN": this environment variable is not set$/],
    [{ SHOP_TOKEN: "short" }, /this environment variable must have at least 16 characters$/],
    [{ SHOP_TOKEN: `${GOOD}\n` }, /this environment variable must be letters, digits and .*$/],
  ];
  for (const [env, message] of cases) {
    await assert.rejects(openInProcess({ config: { apps }, platform: { env } }), {
      name: "TypeError",
      message,
    });
  }
});

/** A transport that no call gets to. */
const unreached: Transport = {
  unary: () => assert.fail("it was sent"),
  stream: () => assert.fail("it was sent"),
};

async function drained(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}
