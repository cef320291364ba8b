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

/** The counts of a client's work, and of the server meanwhile: the second time, after what is created once. */
async function countsOf(
  work: Omit<Work, "url" | "calls">,
): Promise<{ atServer: Allocations; atClient: Allocations }> {
  const { first: url, ask } = await server;
  const call = (await client).ask;
  const all = { ...work, url, calls: CALLS };
  // Connections, and the one timer for all responses that are being sent.
  await call(all);
  await ask("counts");
  const atClient = await call(all);
  return { atClient, atServer: await ask("counts") };
}

const WAYS = [
  { over: { protocol: "connect" } },
  { over: { protocol: "connect", json: true } },
  { over: { protocol: "grpc" } },
  { over: { protocol: "grpc-web" } },
  { over: "tunnel" },
] as const satisfies Pick<Work, "over">[];

const nameOf = ({ over }: Pick<Work, "over">): string =>
  over === "tunnel" ? over : `${over.protocol}${over.json ? " JSON" : ""}`;

for (const way of WAYS) {
  for (const atOnce of [1, 20]) {
    test(`${nameOf(way)}, ${atOnce} at once: calls create no AbortController, DOMException or timer`, async () => {
      const { atServer, atClient } = await countsOf({ ...way, atOnce });
      assertNone(atServer);
      assertNone(atClient);
    });
  }

  for (const kind of ["facade", "failing"] as const) {
    test(`${nameOf(way)}: nor do calls of this kind: ${kind}`, async () => {
      const { atServer, atClient } = await countsOf({ ...way, kind, atOnce: 5 });
      assertNone(atServer);
      assertNone(atClient);
    });
  }

  test(`${nameOf(way)}: nor do calls with interceptors that do not read their signal`, async () => {
    for (const kind of ["raw", "failing"] as const) {
      const { atServer, atClient } = await countsOf({ ...way, kind, interceptors: "plain", atOnce: 5 });
      assertNone(atServer);
      assertNone(atClient);
    }
  });

  test(`${nameOf(way)}: a call with a deadline has one timer at each end, with and without interceptors`, async () => {
    for (const [interceptors, controllers] of [
      [undefined, 0],
      ["plain", 0],
      ["copying", CALLS],
    ] as const) {
      const work = { ...way, timeoutMs: 60_000, ...(interceptors && { interceptors }), atOnce: 5 };
      const { atServer, atClient } = await countsOf(work);
      for (const [end, { AbortController, DOMException, timers, stacks }] of Object.entries({
        atServer,
        atClient,
      })) {
        const message = `${end}, ${interceptors}: ${timers} timers: ${stacks.join("\n\n")}`;
        const expected = end === "atClient" ? controllers : 0;
        assert.deepEqual(
          { AbortController, DOMException },
          { AbortController: expected, DOMException: 0 },
          message,
        );
        assert.ok(timers >= CALLS && timers <= CALLS + 2, message);
      }
    }
  });
}

test("tunnel: streams create no AbortController, DOMException or timer but the one that their handler reads", async () => {
  for (const interceptors of [undefined, "plain"] as const) {
    const work = {
      over: "tunnel",
      kind: "stream",
      ...(interceptors && { interceptors }),
      atOnce: 5,
    } as const;
    const { atServer, atClient } = await countsOf(work);
    assert.equal(atServer.AbortController, CALLS, "one for each handler of GetFile, which reads its signal");
    assertNone({ ...atServer, AbortController: 0 });
    assertNone(atClient);
  }
});

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
