import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, test } from "vitest";
import { createClient, text } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createServer, type ServerOptions } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { until } from "../support/until.js";
import { bundle } from "./bundle.js";

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const missing = !existsSync(executablePath);
if (missing)
  console.log(`skipped: no Chromium at ${executablePath}; apt-get install chromium, or set CHROMIUM to one`);

declare global {
  var tunnel: {
    streams(url: string): Promise<Record<string, unknown>>;
    serve(url: string): Promise<void>;
    upload(url: string, megabytes: number): Promise<{ progress: number[]; size: number }>;
    follow(url: string): Promise<void>;
    shared(url: string, key: string): Promise<unknown>;
    noted(): unknown[];
  };
}

describe.skipIf(missing)("the tunnel in Chromium", () => {
  let browser: Browser;
  let origin: ReturnType<typeof createHttpServer>;

  beforeAll(async () => {
    const scripts = await bundle({ page: "tunnel-page.ts", worker: "tunnel-worker.ts" });
    origin = createHttpServer((request, response) => {
      const script = scripts.get(request.url ?? "");
      response.setHeader("content-type", script ? "text/javascript" : "text/html");
      response.end(script ?? '<!doctype html><script type="module" src="/page.js"></script>');
    });
    await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", resolve));
    browser = await chromium.launch({
      executablePath,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--enable-precise-memory-info",
      ],
    });
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    origin?.close();
  });

  /** Opens a page in a new browser context, and a server. */
  async function open(options: ServerOptions = {}) {
    const server = createServer({ platform: nodePlatform, ...options });
    const at = await listen(server, { port: 0 });
    const context = await browser.newContext();
    const visit = async (): Promise<Page> => {
      const page = await context.newPage();
      await page.goto(`http://127.0.0.1:${(origin.address() as AddressInfo).port}/`);
      await page.waitForFunction("typeof globalThis.tunnel === 'object'");
      return page;
    };
    const fl = createClient(createNodeTransport(at.url));
    return {
      url: at.url,
      fl,
      server,
      context,
      visit,
      async [Symbol.asyncDispose]() {
        await context.close();
        await fl.close();
        await at.close();
      },
    };
  }

  test("every call that fetch cannot make works from a page", async () => {
    await using at = await open({ config: { maps: { "/default": { primary: "http://127.0.0.1:9" } } } });
    const page = await at.visit();
    assert.deepEqual(await page.evaluate((url) => globalThis.tunnel.streams(url), at.url), {
      PutFile: "from a page",
      Produce: "1-2",
      SubscribeConfiguration: "dark",
      SubscribeTopicEvents: "pear",
      Connect: "online",
      Backup: "0,0",
    });
  });

  test("the server calls a tab: it handles events and invocations, and events wait while it is closed", async () => {
    const told: string[] = [];
    const note = (_: object, message: string) => void told.push(message);
    await using at = await open({ log: { debug() {}, info: note, warn: note, error: note } });
    const page = await at.visit();
    await page.evaluate((url) => globalThis.tunnel.serve(url), at.url);
    await until(() => told.includes("an app is here"));
    const noted = (of: Page) => of.evaluate(() => globalThis.tunnel.noted());
    await at.fl.pubsub().publish("orders", { id: 1 });
    await until(async () => (await noted(page)).length > 0);
    const reply = await at.fl.service("tab").fetch("/x", { method: "PUT", body: "hello" });
    assert.equal(await reply.text(), "PUT hello");
    await page.close();
    await at.fl.pubsub().publish("orders", { id: 2 });
    const again = await at.visit();
    await again.evaluate((url) => globalThis.tunnel.serve(url), at.url);
    // It comes twice if the tab begins to serve invocations while it handles the event: the server calls it anew.
    await until(async () => (await noted(again)).length > 0);
    assert.deepEqual((await noted(again))[0], { id: 2 });
  });

  test("a Blob of 500 MB is uploaded in constant memory, with its progress", async () => {
    let received = 0;
    const engine = (await import("../../src/server/engines/memory.js")).memoryEngine();
    const { blobs } = engine;
    // The server discards the bytes: this test measures the memory of the page.
    const put: typeof blobs.put = async (name, content, ...rest) => {
      for await (const bytes of content) received += bytes.length;
      return blobs.put(name, (async function* () {})(), ...rest);
    };
    await using at = await open({ engine: { ...engine, blobs: { ...blobs, put } } });
    const page = await at.visit();
    const session = await at.context.newCDPSession(page);
    const heap = async () =>
      (await session.send("Runtime.getHeapUsage")) as { usedSize: number; backingStorageSize?: number };
    const before = await heap();
    let most = 0;
    const watch = setInterval(async () => {
      const { usedSize, backingStorageSize = 0 } = await heap().catch(() => before);
      most = Math.max(most, usedSize + backingStorageSize);
    }, 50);
    const { progress, size } = await page.evaluate((url) => globalThis.tunnel.upload(url, 500), at.url);
    clearInterval(watch);
    assert.equal(size, 500 * 1024 * 1024);
    assert.equal(received, size);
    assert.equal(progress.at(-1), size);
    assert.ok(progress.length > 100);
    assert.ok(progress.every((bytes, i) => i === 0 || bytes >= (progress[i - 1] ?? 0)));
    const grown = most - before.usedSize - (before.backingStorageSize ?? 0);
    // Includes garbage that is not collected yet.
    assert.ok(grown < 128 * 1024 * 1024, `the page took ${grown} bytes more`);
  }, 120_000);

  test("a log reader continues after the network was cut and restored, without a gap or a repeat", async () => {
    await using at = await open();
    const log = at.fl.log("cut", { codec: text() });
    const page = await at.visit();
    await page.evaluate((url) => void globalThis.tunnel.follow(url), at.url);
    const noted = () => page.evaluate(() => globalThis.tunnel.noted());
    await log.append(["0", "1"]);
    await until(async () => (await noted()).length === 2);
    await at.context.setOffline(true);
    // Playwright's offline does not affect open sockets, so a proxy in between is cut.
    for (const each of at.server.tunnels.sessions) each.close(4003, "cut");
    await log.append(["2", "3"]);
    assert.equal((await noted()).length, 2);
    await at.context.setOffline(false);
    await log.append(["4"]);
    await until(async () => (await noted()).length >= 5);
    assert.deepEqual(await noted(), ["0", "1", "2", "3", "4"]);
  });

  test("all pages of an origin share one socket, through a SharedWorker", async () => {
    await using at = await open();
    const pages = [await at.visit(), await at.visit(), await at.visit()];
    for (const [i, page] of pages.entries()) {
      assert.equal(await page.evaluate((url) => globalThis.tunnel.shared(url, "shared"), at.url), i + 1);
    }
    assert.equal(at.server.tunnels.sessions.size, 1);
  });
});
