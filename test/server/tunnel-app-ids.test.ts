import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { createRouterTransport } from "@connectrpc/connect";
import { test } from "vitest";
import { silent } from "../../src/server/context.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { createServer } from "../../src/server/index.js";
import { AppRegistry } from "../../src/server/tunnel/app-registry.js";
import { createSocketPair } from "../../src/tunnel/socket/pair.js";
import { failure } from "../decisions/failure.js";
import { RawPeer } from "../tunnel/raw.js";

type Line = Record<string, unknown>;

function open() {
  const lines: Line[] = [];
  const note = (fields: object, message: string) => void lines.push({ ...fields, message });
  const server = createServer({ log: { debug: note, info: note, warn: note, error: note } });
  const dial = () => {
    const net = createSocketPair();
    const peer = new RawPeer(net, 0);
    server.tunnels.accept(net.ends[1]);
    return peer;
  };
  return { server, lines, dial, [Symbol.asyncDispose]: server.close };
}

const hello = (appId: string, offers = 1) => ({ kind: "settings" as const, settings: { appId, offers } });

test("an app id that is not a name is refused at once, and truncated in log and error", async () => {
  await using at = open();
  for (const [appId, why] of [
    [`a${"x".repeat(250_000)}`, /^4004 appId "axxx.*: must be at most 255 characters$/],
    ["", /^4004 appId "": must not be empty$/],
    ["a\0b", /^4004 appId "a\\u0000b": must not contain control characters$/],
    ["a\nb", /must not contain control characters/],
  ] as const) {
    const peer = at.dial();
    peer.send(hello(appId));
    await peer.until(({ closed }) => closed !== "");
    assert.match(peer.closed, why);
    assert.ok(peer.closed.length < 200);
    assert.deepEqual(peer.of("CALL"), []);
  }
  assert.ok(JSON.stringify(at.lines).length < 1000, JSON.stringify(at.lines).slice(0, 1000));
});

test("an app cannot change its id: the second one closes the socket", async () => {
  await using at = open();
  const peer = at.dial();
  for (let i = 0; i < 100; i++) peer.send(hello(`app-${i}`, i + 1));
  await peer.until(({ closed }) => closed !== "");
  assert.match(peer.closed, /^4004 appId "app-1": must stay "app-0"$/);
  let known = 0;
  for await (const _ of at.server.engine.keys.list("app\0")) known++;
  assert.ok(known <= 1, `${known} apps are remembered`);
});

test("an authorization that is longer than the limit of headers is refused", async () => {
  await using at = open();
  const peer = at.dial();
  peer.send({ kind: "settings", settings: { authorization: "x".repeat(40_000) } });
  await peer.until(({ closed }) => closed !== "");
  assert.match(peer.closed, /^4004 limit headerBytes 32768/);
});

test("the number of known apps is limited, and apps that are connected or have waiting events are not dropped", async () => {
  await using engine = memoryEngine();
  const closing = new AbortController();
  const apps = new AppRegistry({
    engine,
    limits: { apps: 3 },
    closing: closing.signal,
    log: silent,
  });
  const transport = createRouterTransport(() => {});
  const leaveHere = await apps.add("here", transport);
  const waiting = await apps.add("waiting", transport);
  engine.topics.consume("t", "waiting", AbortSignal.abort());
  await apps.setGroups("waiting", [{ topic: "t", group: "waiting" }]);
  await engine.topics.publish("t", [new Uint8Array(1)]);
  waiting();
  for (let i = 0; i < 20; i++) (await apps.add(`short-${i}`, transport))();
  assert.equal(await apps.has("here"), true);
  assert.equal(await apps.has("waiting"), true);
  assert.equal(await apps.has("short-19"), true);
  assert.equal(await apps.has("short-18"), false);
  const third = await apps.add("third", transport);
  assert.equal(await apps.has("short-19"), false);
  const refused = await failure(apps.add("fourth", transport));
  assert.match(refused.rawMessage, /^limit apps 3: /);
  // A known app may still return.
  await apps.add("waiting", transport);
  third();
  leaveHere();
  await apps.add("fourth", transport);
  closing.abort();
  await sleep(0);
});
