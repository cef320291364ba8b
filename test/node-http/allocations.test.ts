import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, test } from "vitest";
import type { Work } from "./allocations/client.js";
import type { Allocations } from "./allocations/counted.js";

const folder = join(import.meta.dirname, ".tmp", String(process.pid));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a script of ./allocations in a process of its own; `first` is what it sends first. */
async function start(name: "server" | "client") {
  const outfile = join(folder, `${name}.mjs`);
  await build({
    entryPoints: [join(import.meta.dirname, "allocations", `${name}.ts`)],
    outfile,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "es2022",
    // counted.ts has side effects, unlike what the package says of its own modules.
    ignoreAnnotations: true,
  });
  const child = fork(outfile, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  children.push(child);
  const [first] = await once(child, "message");
  const ask = async (message: unknown): Promise<Allocations> => {
    child.send(message as never);
    const [answer] = await once(child, "message");
    return answer as Allocations;
  };
  return { first: first as string, ask };
}

/** Asserts that calls added nothing. A timer or two may be those that all calls of a connection or a server share. */
function assertNone({ AbortController, DOMException, timers, stacks }: Allocations): void {
  const message = stacks.join("\n\n");
  assert.deepEqual({ AbortController, DOMException }, { AbortController: 0, DOMException: 0 }, message);
  assert.ok(timers <= 2, `${timers} timers: ${message}`);
}

const server = start("server");
const client = start("client");
const CALLS = 100;

for (const options of [
  { protocol: "connect" },
  { protocol: "connect", json: true },
  { protocol: "grpc" },
  { protocol: "grpc-web" },
] as const) {
  for (const atOnce of [1, 20]) {
    const name = `${options.protocol}${"json" in options ? " JSON" : ""}, ${atOnce} at once`;
    test(`${name}: calls create no AbortController, DOMException or timer`, async () => {
      const { first: url, ask } = await server;
      const call = (await client).ask;
      const work: Work = { url, options, calls: CALLS, atOnce };
      // Connections, and the one timer for all responses that are being sent.
      await call(work);
      await ask("counts");
      const clientCounts = await call(work);
      const serverCounts = await ask("counts");
      assertNone(serverCounts);
      assertNone(clientCounts);
    });
  }
}

test("HTTP/1.1: calls create no AbortController, DOMException or timer", async () => {
  const { first: url, ask } = await server;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const call = () =>
    new Promise<number>((resolve, reject) => {
      const sent = request(`${url}/spec.proto.runtime.v1.Runtime/GetState`, {
        method: "POST",
        agent,
        headers: { "content-type": "application/json" },
      });
      sent.on("response", (response) => response.resume().on("end", () => resolve(response.statusCode ?? 0)));
      sent.on("error", reject);
      sent.end('{"storeName":"default","key":"k"}');
    });
  for (let i = 0; i < CALLS; i++) assert.equal(await call(), 200);
  await ask("counts");
  for (let i = 0; i < CALLS; i++) await call();
  assertNone(await ask("counts"));
  agent.destroy();
});
