import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { build } from "esbuild";
import { createClient } from "fairlead";
import { createNodeTransport } from "fairlead/node";
import { withWorkerd } from "../drivers/workerd.js";
import type { Place } from "../examples.js";
import * as programs from "../programs.js";

/** The time limit of an example, in milliseconds. */
const LIMIT_MS = 60_000;

const run = async ({ folder, url }: Place, program: string, ...args: string[]): Promise<string> => {
  const env = { ...process.env, FAIRLEAD_URL: url };
  const { stdout } = await promisify(execFile)(program, args, { cwd: folder, env, timeout: LIMIT_MS });
  return stdout.trim();
};

export async function cloudflareWorker({ folder, url }: Place): Promise<void> {
  const { outputFiles } = await build({
    absWorkingDir: folder,
    entryPoints: ["worker.js"],
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    write: false,
  });
  const script = outputFiles[0]?.text ?? "";
  const options = { script, folder, limitMs: LIMIT_MS, bindings: { FAIRLEAD_URL: url } };
  const visits = await withWorkerd(await programs.workerd(), options, async (worker) => {
    const visit = async (path: string) => (await fetch(worker + path)).json();
    return [await visit("/a"), await visit("/b"), await visit("/a")];
  });
  const page = (page: string, visits: number) => ({ page, visits });
  assert.deepEqual(visits, [page("/a", 1), page("/b", 1), page("/a", 2)]);
}

export async function deno(place: Place): Promise<void> {
  // The package is in node_modules: it is not published.
  const local = [
    "run",
    "--allow-net",
    "--allow-env",
    "--allow-read",
    "--no-config",
    "--node-modules-dir=manual",
    "main.ts",
  ];
  const program = await programs.deno();
  assert.equal(await run(place, program, ...local), "report 1 is done");
  await using fl = createClient(createNodeTransport(place.url));
  const held = await fl.lock().acquire("nightly-report");
  assert.equal(await run(place, program, ...local), "another machine runs it");
  await held.release();
  assert.match(JSON.stringify((await fl.state().get("latest-report"))?.value), /"number":1,"madeBy":"Deno 2/);
}

export async function nodeCallbacks({ folder, url, port }: Place): Promise<void> {
  const env = { ...process.env, FAIRLEAD_URL: url, PORT: String(port) };
  const child = spawn(process.execPath, ["service.js"], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const late = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
  await using fl = createClient(createNodeTransport(url));
  let orders = 0;
  const order = () => fl.pubsub().publish("orders", { id: `o${++orders}`, total: 12 });
  // Its group starts when the server has polled its topics, so orders are published until the first one is handled.
  let ordering: ReturnType<typeof setInterval> | undefined;
  let handled = "";
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith("waiting")) ordering = setInterval(() => void order().catch(() => {}), 50);
    handled = /^order (o\d+): invoice over 12$/.exec(line)?.[1] ?? "";
    if (handled) break;
  }
  clearInterval(ordering);
  assert.notEqual(handled, "", "it handled no order");
  const invoice = (await fl.state<{ total: number }>().get(`invoice-${handled}`))?.value;
  child.kill("SIGTERM");
  const [status] = await once(child, "close");
  clearTimeout(late);
  assert.equal(invoice?.total, 12);
  assert.equal(status, 0);
}

export async function grpcJs(place: Place): Promise<void> {
  const [hello, state, refused] = (await run(place, process.execPath, "client.js")).split("\n");
  assert.equal(hello, "Hello, Ada");
  assert.match(state ?? "", /^from gRPC \(etag \d+\)$/);
  assert.match(refused ?? "", /etag/);
}
