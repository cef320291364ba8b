import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { type GossipMap, openGossipMap, withToken } from "../../src/index.js";
import type { AccessRule } from "../../src/server/access/rules.js";
import { parseConfig } from "../../src/server/index.js";
import { openInProcess, type TestServer } from "../support/protocols.js";
import { advertises, rawMember, updates } from "../support/raw-member.js";
import { until } from "../support/until.js";

const TOKENS = { admin: "admin-0123456789abcdef", member: "member-0123456789abcdef" };

/** A server whose member has `rules`, and whose administrator may do everything. */
const serve = (rules: AccessRule[]) =>
  openInProcess({
    config: {
      gossip: { flushMs: 1, antiEntropyMs: 20, idleMs: 50 },
      access: {
        tokens: [
          { token: TOKENS.admin, subject: "admin", rules: [{ primitive: "*", verbs: ["*"] }] },
          { token: TOKENS.member, subject: "member", rules: rules as never },
        ],
      },
    },
  });

const transportOf = ({ server }: TestServer, caller: keyof typeof TOKENS) =>
  withToken(server.transport({ trusted: false }), TOKENS[caller]);

const openAs = (at: TestServer, caller: keyof typeof TOKENS): Promise<GossipMap<string>> =>
  openGossipMap<string>(transportOf(at, caller), "m", { flushMs: 1, antiEntropyMs: 20 });

const errorOf = (promise: Promise<unknown>): Promise<ConnectError> =>
  promise.then(
    () => assert.fail("it did not fail"),
    (error: unknown) => ConnectError.from(error),
  );

test("a member receives the keys that it may read, now and later, and no other", async () => {
  await using at = await serve([{ primitive: "gossipMap", store: "m", keys: "news/*", verbs: ["read"] }]);
  await using admin = await openAs(at, "admin");
  admin.set("news/1", "first");
  admin.set("secret", "x");
  await admin.synced();
  await using member = await openAs(at, "member");
  assert.deepEqual([...member], [["news/1", "first"]]);
  admin.set("secret/2", "y");
  admin.set("news/2", "second");
  admin.delete("news/1");
  await until(() => member.get("news/2") === "second" && !member.has("news/1"));
  assert.deepEqual([...member.keys()], ["news/2"]);
});

test("no message to a member names a key that it may not read, and it gets none that it asks for", async () => {
  await using at = await serve([{ primitive: "gossipMap", keys: "news/*", verbs: ["read"] }]);
  await using admin = await openAs(at, "admin");
  for (let i = 0; i < 30; i++) admin.set(`secret/${i}`, "x");
  admin.set("news/1", "first");
  await admin.synced();
  await using raw = rawMember(transportOf(at, "member"), "m");
  raw.advertise({});
  await raw.until(updates("news/1"));
  raw.send({ case: "updateRequest", value: { keys: ["secret/1", "news/1"] } });
  const answer = await raw.until(updates("news/1"));
  admin.set("news/2", "second");
  const later = await raw.until(updates("news/2"));
  raw.advertise({ "news/1": 1, "news/2": 1 });
  const digests = await raw.until(advertises);
  for (const { message } of [answer, later, digests]) {
    assert.doesNotMatch(
      JSON.stringify(message, (_, value) => (typeof value === "bigint" ? String(value) : value)),
      /secret/,
    );
  }
});

test("a member may change the keys that it may read and write; other writes are refused by their keys", async () => {
  await using at = await serve([
    { primitive: "gossipMap", store: "m", verbs: ["read"] },
    { primitive: "gossipMap", store: "m", keys: "user/ada/*", verbs: ["write"] },
  ]);
  await using admin = await openAs(at, "admin");
  admin.set("user/bob/name", "Bob");
  await admin.synced();
  await using member = await openAs(at, "member");
  member.set("user/ada/name", "Ada");
  await member.synced();
  await until(() => admin.get("user/ada/name") === "Ada");

  member.set("user/bob/name", "Eve");
  const error = await errorOf(member.synced());
  assert.equal(error.code, Code.PermissionDenied);
  assert.match(error.rawMessage, /"member" may not write the key "user\/bob\/name" of gossipMap "m"/);
  assert.equal(member.status.current, "closed");
  assert.equal(admin.get("user/bob/name"), "Bob");
});

test("removals and entries of unreadable keys are refused as well", async () => {
  await using at = await serve([
    { primitive: "gossipMap", keys: "a/*", verbs: ["read"] },
    { primitive: "gossipMap", keys: "b/*", verbs: ["write"] },
  ]);
  await using admin = await openAs(at, "admin");
  admin.set("a/1", "x");
  await admin.synced();
  for (const change of [
    (map: GossipMap<string>) => map.delete("a/1"),
    (map: GossipMap<string>) => map.set("b/1", "x"),
  ]) {
    await using member = await openAs(at, "member");
    change(member);
    assert.equal((await errorOf(member.synced())).code, Code.PermissionDenied);
  }
  assert.deepEqual([...admin.keys()], ["a/1"]);
});

test("a right to write without one to read does not let a member join", async () => {
  await using at = await serve([{ primitive: "gossipMap", store: "m", verbs: ["write"] }]);
  const error = await errorOf(openAs(at, "member"));
  assert.equal(error.code, Code.PermissionDenied);
});

test("a member with a part of a large map, which returns with all of it, gets only what has changed", async () => {
  await using at = await serve([{ primitive: "gossipMap", keys: "news/*", verbs: ["read", "write"] }]);
  await using admin = await openAs(at, "admin");
  for (let i = 0; i < 3000; i++) {
    admin.set(`news/${i}`, `value ${i}`);
    admin.set(`secret/${i}`, "x");
  }
  await admin.synced();
  await using member = await openAs(at, "member");
  assert.equal(member.size, 3000);
  member.set("news/1", "changed");
  member.set("news/3001", "new");
  await member.synced();
  await until(() => admin.get("news/1") === "changed" && admin.get("news/3001") === "new");
  admin.set("news/5", "changed too");
  await until(() => member.get("news/5") === "changed too");
});

test("only rules of gossip maps may name keys", () => {
  const config = (primitive: string) => ({
    access: { roles: { all: [{ primitive, keys: "a*", verbs: ["read"] }] }, anonymous: "all" },
  });
  assert.throws(
    () => parseConfig(config("state") as never),
    /keys.*must be left out: only "gossipMap" has rules by key/s,
  );
  parseConfig(config("gossipMap") as never);
});
