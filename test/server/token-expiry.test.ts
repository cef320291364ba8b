import assert from "node:assert/strict";
import { Code, type Transport } from "@connectrpc/connect";
import { decodeJwt } from "jose";
import { describe, test, vi } from "vitest";
import { createClient, text, withToken } from "../../src/index.js";
import { sleep } from "../../src/rpc/sleep.js";
import { VerifiedTokens } from "../../src/server/access/verified.js";
import type { ConfigInput } from "../../src/server/index.js";
import { failure } from "../decisions/failure.js";
import { forEachProtocol, openInProcess, type TestServer } from "../support/protocols.js";
import { type Issuer, jwtOf, openIssuer } from "../support/tokens.js";

/** The lifetime of the short tokens in these tests. */
const SHORT_MS = 2000;

const trusting = (issuer: Issuer, jwt = {}): ConfigInput => ({
  access: {
    jwt: { ...jwtOf(issuer), clockToleranceMs: 0, ...jwt },
    roles: { any: [{ primitive: "*", verbs: ["*"] }] },
  },
});

/** Signs a token that expires after `ms`, or after a minute. */
const signed = (issuer: Issuer, ms = 60_000) =>
  issuer.sign({ roles: ["any"], jti: String(Math.random()), exp: (Date.now() + ms) / 1000 });

const wayTo = (at: TestServer) => (at.url === "" ? at.server.transport({ trusted: false }) : at.transport);

/** Returns one short token until it is refused, then valid ones, like an app that caches its token. */
async function keeping(issuer: Issuer) {
  const short = await signed(issuer, SHORT_MS);
  const refusals: (string | undefined)[] = [];
  let held = short;
  const token = async (refused?: string) => {
    refusals.push(refused);
    if (refused === held) held = await signed(issuer);
    return held;
  };
  return { token, short, refusals };
}

const first = async <T>(stream: AsyncIterable<T>): Promise<T | undefined> => {
  for await (const each of stream) return each;
  return undefined;
};

/** Runs over all protocols concurrently: these tests mostly wait. */
const atOnce = (...[need, suite]: Parameters<typeof forEachProtocol>) =>
  describe.concurrent(need, () => forEachProtocol(need, suite));

atOnce("download", (open) => {
  test("a stream ends when its token expires, and says so; a facade gets another token and continues", async () => {
    await using issuer = await openIssuer();
    await using at = await open({ config: trusting(issuer) });
    const { token, short, refusals } = await keeping(issuer);
    const followed = first(createClient(wayTo(at), { token }).log<string>("l", { codec: text() }).read());
    const { log } = createClient(withToken(wayTo(at), short)).raw;
    const error = await failure(first(log.consume({}, { headers: { "fairlead-log": "l" } })));
    assert.equal(error.code, Code.Unauthenticated);
    assert.match(
      error.rawMessage,
      /^the bearer token that this stream began with has expired: open it again/,
    );
    const lateMs = Date.now() - Number(decodeJwt(short).exp) * 1000;
    assert.ok(lateMs > -5 && lateMs < 1500, `${lateMs} ms`);
    await vi.waitFor(() => assert.ok(refusals.includes(short)));
    await createClient(at.server.transport()).log<string>("l", { codec: text() }).append("after");
    assert.equal((await followed)?.value, "after");
  });
});

atOnce("duplex", (open) => {
  test("subscriptions, configurations and gossip maps continue with another token, too", async () => {
    await using issuer = await openIssuer();
    await using at = await open({ config: trusting(issuer) });
    const trusted = createClient(at.server.transport());
    const transport = wayTo(at);
    const given = await Promise.all([1, 2, 3].map(() => keeping(issuer)));
    const [a, b, c] = given.map(({ token }) => createClient(transport, { token }));
    assert.ok(a && b && c);

    const event = first(a.pubsub().subscribe<string>("t"));
    const settings = await b.configuration().open();
    await using map = await c.openGossipMap<number>("m");
    await sleep(SHORT_MS + 200);
    await trusted.pubsub().publish("t", "after");
    await trusted.configuration().save({ key: "after" });
    await using own = await trusted.openGossipMap<number>("m");
    own.set("k", 7);

    assert.equal((await event)?.data, "after");
    await vi.waitFor(() => assert.equal(settings.current["key"], "after"), 5000);
    await vi.waitFor(() => assert.equal(map.get("k"), 7), 5000);
    for (const { refusals, short } of given) assert.ok(refusals.includes(short));
  });

  test("an upload that waits for its caller ends when the token expires, and nothing of it is stored", async () => {
    await using issuer = await openIssuer();
    await using at = await open({ config: trusting(issuer) });
    const short = await signed(issuer, SHORT_MS);
    const upload = async function* () {
      yield { storeName: "default", name: "half", data: new Uint8Array(10) };
      await sleep(SHORT_MS + 3000);
    };
    const { runtime } = createClient(withToken(wayTo(at), short)).raw;
    const error = await failure(runtime.putFile(upload()));
    assert.equal(error.code, Code.Unauthenticated);
    assert.match(error.rawMessage, /has expired: open it again/);
    assert.equal(await createClient(at.server.transport()).files().stat("half"), undefined);
  });
});

atOnce("duplex", (open) => {
  test("a subscription that is refused at first starts with another token", async () => {
    await using issuer = await openIssuer();
    await using at = await open({ config: trusting(issuer) });
    const [late, good] = [await signed(issuer, -2000), await signed(issuer)];
    let held = late;
    const token = (refused?: string) => {
      if (refused === late) held = good;
      return held;
    };
    const onOpen = () => createClient(at.server.transport()).pubsub().publish("t", "x");
    const fl = createClient(wayTo(at), { token });
    assert.equal((await first(fl.pubsub().subscribe<string>("t", { onOpen })))?.data, "x");
  });
});

test("a stream fails if there is no other token, or if that is refused, too", async () => {
  await using issuer = await openIssuer();
  await using other = await openIssuer();
  await using at = await openInProcess({ config: trusting(issuer) });
  const read = async (token: (refused?: string) => Promise<string> | string) => {
    let asked = 0;
    const counted = (refused?: string) => {
      asked++;
      return token(refused);
    };
    const fl = createClient(at.server.transport({ trusted: false }), { token: counted });
    const streams = [first(fl.log().read()), first(fl.pubsub().subscribe("t"))];
    const errors = await Promise.all(streams.map(failure));
    assert.deepEqual(
      errors.map(({ code }) => code),
      [Code.Unauthenticated, Code.Unauthenticated],
    );
    return asked;
  };
  const short = await signed(issuer, 300);
  assert.ok((await read(() => short)) <= 6);
  assert.ok((await read(() => signed(other))) <= 6);
});

test("the signature of a token is verified once, until it expires or the keys are fetched again", async () => {
  await using issuer = await openIssuer();
  await using at = await openInProcess({ config: trusting(issuer, { cooldownMs: 0 }) });
  const verify = vi.spyOn(globalThis.crypto.subtle, "verify");
  try {
    const call = (token: string) =>
      createClient(withToken(at.server.transport({ trusted: false }), token), { retry: false })
        .state()
        .get("k");
    const checks = async (token: string, times = 5) => {
      verify.mockClear();
      for (let i = 0; i < times; i++) await call(token);
      return verify.mock.calls.length;
    };
    await call(await signed(issuer));
    const token = await signed(issuer);
    assert.equal(await checks(token), 1);
    assert.equal(await checks(token), 0);
    await issuer.rotate();
    assert.equal(await checks(token), 0);
    await call(await signed(issuer));
    assert.equal((await failure(call(token))).code, Code.Unauthenticated);

    const other = await signed(issuer);
    assert.equal(await checks(other), 1);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 61_000 });
    assert.match((await failure(call(other))).rawMessage, /has expired$/);
  } finally {
    vi.useRealTimers();
    verify.mockRestore();
  }
});

test("a refused token is not cached as valid", async () => {
  await using issuer = await openIssuer();
  await using other = await openIssuer();
  await using at = await openInProcess({ config: trusting(issuer) });
  const forged = await signed(other);
  const call = (transport: Transport) => createClient(transport, { retry: false }).state().get("k");
  for (let i = 0; i < 3; i++) {
    const error = await failure(call(withToken(at.server.transport({ trusted: false }), forged)));
    assert.equal(error.code, Code.Unauthenticated);
  }
});

test("VerifiedTokens keeps a bounded number of tokens, each until it expires or the keys change", () => {
  const verified = new VerifiedTokens<{ fromMs: number; expiresAtMs: number }>();
  const keys = {};
  const always = { fromMs: 0, expiresAtMs: Date.now() + 60_000 };
  const heap = [...Array(10_001).keys()].map(String);
  for (const digest of heap.slice(0, -1)) verified.set(digest, keys, always);
  assert.equal(verified.get("0", keys), always);
  verified.set("10000", keys, always);
  assert.equal(verified.get("1", keys), undefined);
  assert.equal(heap.filter((digest) => verified.get(digest, keys)).length, 10_000);

  verified.set("early", keys, { ...always, fromMs: Date.now() + 60_000 });
  assert.equal(verified.get("early", keys), undefined);
  verified.set("late", keys, { ...always, expiresAtMs: Date.now() });
  assert.equal(verified.get("late", keys), undefined);

  assert.equal(verified.get("0", {}), undefined);
  assert.equal(verified.get("0", keys), undefined);
  verified.set("0", undefined, always);
  assert.equal(verified.get("0", undefined), undefined);
});
