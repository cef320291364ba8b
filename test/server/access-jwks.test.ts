import assert from "node:assert/strict";
import { Code } from "@connectrpc/connect";
import { test } from "vitest";
import { createClient, withToken } from "../../src/index.js";
import { createServer } from "../../src/server/index.js";
import { failure } from "../decisions/failure.js";
import { type Issuer, jwtOf, openIssuer } from "../support/tokens.js";
import { until } from "../support/until.js";

const roles = { writer: [{ primitive: "state" as const, verbs: ["write"] }] };

function open(issuer: Issuer, settings: { cacheMaxAgeMs?: number; cooldownMs?: number } = {}) {
  const server = createServer({ config: { access: { jwt: { ...jwtOf(issuer), ...settings }, roles } } });
  const transport = server.transport({ trusted: false });
  const write = (token: string) =>
    createClient(withToken(transport, token), { retry: false }).state().set("k", 1);
  /** A valid token that the server has not seen before. */
  const fresh = () => issuer.sign({ roles: ["writer"], jti: crypto.randomUUID() });
  return { write, fresh, [Symbol.asyncDispose]: server.close };
}

/** A token like those of the issuer, signed by an unknown key. */
async function stranger(): Promise<string> {
  await using other = await openIssuer();
  for (let i = 0; i < 9; i++) await other.rotate();
  return other.sign({ roles: ["writer"] });
}

test("while the issuer is down, only tokens by unknown keys fail: the cached keys stay valid", async () => {
  await using issuer = await openIssuer();
  await using at = open(issuer, { cooldownMs: 0 });
  const unknown = await stranger();
  await at.write(await at.fresh());
  issuer.answerWith(500);
  const asked = issuer.asked();
  for (let i = 0; i < 50; i++) {
    const refused = await failure(at.write(unknown));
    assert.equal(refused.code, Code.Unavailable);
    await at.write(await at.fresh());
  }
  assert.ok(issuer.asked() - asked <= 3, `asked ${issuer.asked() - asked} times`);
});

test("expired keys stay valid while the issuer is down, and are dropped when it is back without them", async () => {
  await using issuer = await openIssuer();
  await using at = open(issuer, { cacheMaxAgeMs: 0, cooldownMs: 0 });
  const before = await at.fresh();
  await at.write(before);
  issuer.answerWith(503);
  for (let i = 0; i < 10; i++) await at.write(await at.fresh());
  await at.write(before);
  await issuer.rotate();
  issuer.answerWith(200);
  // The issuer is asked again one second after the failure at the earliest.
  await until(
    async () => (await failure(at.write(before)).catch(() => undefined))?.code === Code.Unauthenticated,
  );
  await at.write(await at.fresh());
});

test("without any keys, calls with tokens are unavailable, and the issuer is not asked for each of them", async () => {
  await using issuer = await openIssuer();
  await using at = open(issuer);
  issuer.answerWith(500);
  for (let i = 0; i < 20; i++)
    assert.equal((await failure(at.write(await at.fresh()))).code, Code.Unavailable);
  assert.equal(issuer.asked(), 1);
});

test("for many unknown keys the issuer is asked once per cooldown, and the error names the reason", async () => {
  await using issuer = await openIssuer();
  await using at = open(issuer, { cooldownMs: 60_000 });
  await at.write(await at.fresh());
  const unknown = await stranger();
  const codes = await Promise.all(
    Array.from({ length: 200 }, async () => (await failure(at.write(unknown))).code),
  );
  assert.deepEqual(new Set(codes), new Set([Code.Unauthenticated]));
  await at.write(await at.fresh());
  assert.equal(issuer.asked(), 1);
});
