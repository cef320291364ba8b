import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, test } from "vitest";
import { sleep } from "../../src/rpc/sleep.js";
import { createServer } from "../../src/server/index.js";
import { type Listening, listen } from "../../src/server/node.js";

const outdir = join(import.meta.dirname, `.tmp/lifetimes-${process.pid}`);
const program = join(outdir, "program.mjs");
let server: Listening;

beforeAll(async () => {
  server = await listen(createServer(), { port: 0, graceMs: 0 });
  await build({
    entryPoints: ["program", "paused-lock"].map((name) =>
      join(import.meta.dirname, `../lifetimes/${name}.ts`),
    ),
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "es2022",
    // Bundled with its packages, a process starts in a fraction of the time. They require() Node modules.
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    external: ["bufferutil", "utf-8-validate"],
  });
});

afterAll(async () => {
  await server.close();
  await rm(outdir, { recursive: true, force: true });
});

/** Starts the program in another process, and waits until it has opened its object. */
async function open(kind: string, thing: string, how: "leave" | "close", url = server.url) {
  const child = spawn(process.execPath, [program, kind, thing, how, url]);
  let printed = "";
  child.stderr.on("data", (text: Buffer) => void (printed += text));
  const ended = once(child, "exit").then(([status]) => ({ status: status as number | null, printed }));
  await Promise.race([once(child.stdout, "data"), ended]);
  return { child, ended };
}

/** Checks that it keeps running: with an idle browser-style WebSocket alone, it would end after a second. */
async function goesOn({ child, ended }: { child: ChildProcess; ended: Promise<unknown> }, ms: number) {
  await Promise.race([sleep(ms), ended]);
  assert.equal(child.exitCode, null);
}

/** Checks that it ends by itself within `ms`, with status 0 and without output. */
async function endsItself(
  { child, ended }: { child: ChildProcess; ended: Promise<{ status: number | null; printed: string }> },
  ms: number,
) {
  const late = setTimeout(() => child.kill("SIGKILL"), ms);
  const outcome = await ended;
  clearTimeout(late);
  assert.deepEqual(outcome, { status: 0, printed: "" });
}

const hasWebSocket = typeof WebSocket !== "undefined";
const KINDS = ["node", "node-1.1", "web", "tunnel", "inProcess", ...(hasWebSocket ? ["web-tunnel"] : [])];
/** Objects that need a bidirectional stream, which HTTP/1.1 does not have; the browser transport uses a tunnel. */
const BOTH_WAYS = ["subscribe", "gossip map"];
const canDo = (kind: string, thing: string): boolean => {
  if (thing.endsWith("serve"))
    return ["tunnel", "web", "web-tunnel"].includes(kind) && (kind === "tunnel" || hasWebSocket);
  // Similar to HTTP/2, so one of them is enough.
  if (kind === "node-1.1" && thing !== "log") return false;
  if (BOTH_WAYS.includes(thing)) return kind !== "web" || hasWebSocket;
  return true;
};
/** close() of the client is similar for the others: closing.test.ts has them all. */
const closedToo = (kind: string) => kind === "tunnel" || kind === "web";
const THINGS = ["pubsub.serve", "service.serve", "subscribe", "log", "configuration", "gossip map", "lock"];
const CASES = KINDS.flatMap((kind) =>
  THINGS.filter((thing) => canDo(kind, thing)).map((thing) => [thing, kind]),
);

describe("a process runs while an object is open, and then ends by itself", { timeout: 120_000 }, () => {
  test.concurrent.each(CASES)("%s over %s", async (thing = "", kind = "") => {
    for (const how of closedToo(kind) ? (["leave", "close"] as const) : (["leave"] as const)) {
      const opened = await open(kind, thing, how);
      await goesOn(opened, kind.startsWith("web") ? 1500 : 300);
      opened.child.kill("SIGUSR2");
      await endsItself(opened, 8000);
    }
  });

  test.concurrent.each(KINDS)("an idle transport does not keep it alive: %s", async (kind) => {
    await endsItself(await open(kind, "nothing", "leave"), 8000);
  });

  test.concurrent.each([
    ["service.serve", "tunnel"],
    ["subscribe", "tunnel"],
    ["log", "node"],
    ["log", "web"],
    ["gossip map", "node"],
    ["configuration", "node"],
  ])("%s over %s, while the server is down", async (thing, kind) => {
    const down = await listen(createServer(), { port: 0, graceMs: 0 });
    const opened = await open(kind, thing, "leave", down.url);
    await down.close();
    await goesOn(opened, 1000);
    opened.child.kill("SIGUSR2");
    await endsItself(opened, 8000);
  });
});

test("a process that was stopped for longer than its lease notices immediately, and withLock() rejects", async () => {
  const child = spawn(process.execPath, [join(outdir, "paused-lock.mjs"), server.url]);
  let printed = "";
  child.stdout.on("data", (text: Buffer) => void (printed += text));
  const ended = once(child, "close");
  await once(child.stdout, "data");
  child.kill("SIGSTOP");
  await sleep(2000);
  child.kill("SIGCONT");
  assert.deepEqual(await ended, [0, null]);
  assert.equal(printed, "held\nAborted true\n");
});
