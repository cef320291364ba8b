import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, test } from "vitest";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import { until } from "../support/until.js";
import { bundle } from "./bundle.js";

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const missing = !existsSync(executablePath);
if (missing)
  console.log(`skipped: no Chromium at ${executablePath}; apt-get install chromium, or set CHROMIUM to one`);

type Status = { current: string; unsent: number; storageError: string | undefined };

declare global {
  var gossip: {
    open(url: string, name: string): Promise<number>;
    enter(url: string, id: string): Promise<void>;
    present(): string[] | undefined;
    setEphemeral(key: string): void;
    set(key: string, value: unknown): void;
    remove(key: string): boolean;
    fill(count: number): void;
    synced(): Promise<void>;
    contents(): Record<string, unknown>;
    size(): number;
    status(): Status;
    close(): Promise<void>;
  };
}

/** The map of a page. */
const mapOf = (page: Page) => ({
  page,
  set: (key: string, value: unknown) =>
    page.evaluate(([key, value]) => globalThis.gossip.set(key as string, value), [key, value]),
  remove: (key: string) => page.evaluate((key) => globalThis.gossip.remove(key), key),
  synced: () => page.evaluate(() => globalThis.gossip.synced()),
  contents: () => page.evaluate(() => globalThis.gossip.contents()),
  status: () => page.evaluate(() => globalThis.gossip.status()),
  has: async (key: string) => Object.hasOwn(await page.evaluate(() => globalThis.gossip.contents()), key),
});

describe.skipIf(missing)("a gossip map in Chromium", () => {
  let browser: Browser;
  let origin: ReturnType<typeof createHttpServer>;

  beforeAll(async () => {
    const scripts = await bundle({ page: "gossip-page.ts" });
    origin = createHttpServer((request, response) => {
      const script = scripts.get(request.url ?? "");
      response.setHeader("content-type", script ? "text/javascript" : "text/html");
      response.end(script ?? '<!doctype html><body><script type="module" src="/page.js"></script>');
    });
    await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", resolve));
    browser = await chromium.launch({
      executablePath,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    origin?.close();
  });

  /** A server behind a proxy that can be cut, a program on Node, and browser contexts. */
  async function open() {
    const server = createServer({ platform: nodePlatform });
    const listening = await listen(server, { port: 0 });
    const proxy = await openCuttableProxy(Number(new URL(listening.url).port));
    const fl = createClient(createNodeTransport(listening.url));
    const contexts: BrowserContext[] = [];
    const load = async (page: Page) => {
      await page.goto(`http://127.0.0.1:${(origin.address() as AddressInfo).port}/`);
      await page.waitForFunction("typeof globalThis.gossip === 'object'");
      const tookMs = await page.evaluate((url) => globalThis.gossip.open(url, "todo"), proxy.url);
      return { ...mapOf(page), tookMs };
    };
    return {
      server,
      proxy,
      fl,
      async context() {
        const context = await browser.newContext();
        contexts.push(context);
        return { context, tab: async () => load(await context.newPage()) };
      },
      load,
      async [Symbol.asyncDispose]() {
        await Promise.all(contexts.map((context) => context.close()));
        await fl.close();
        await proxy[Symbol.asyncDispose]();
        await listening.close();
      },
    };
  }

  test("two browsers and a program share a map: one goes offline, all write, it is back, all agree", async () => {
    await using at = await open();
    const node = await at.fl.openGossipMap("todo");
    const [{ context, tab }, elsewhere] = [await at.context(), await at.context()];
    const [here, there] = [await tab(), await elsewhere.tab()];
    await here.set("shared", "by here");
    await here.synced();
    await until(() => node.has("shared"));
    await until(() => there.has("shared"));
    const beganMs = performance.now();
    await context.setOffline(true);
    await until(async () => (await here.status()).current === "offline");
    assert.ok(performance.now() - beganMs < 1000, "offline is seen within a second");
    // Playwright's offline does not affect open sockets.
    for (const session of at.server.tunnels.sessions) session.close(4003, "cut");
    await here.set("offline", 1);
    await here.set("by both", "here");
    await there.set("meanwhile", 2);
    await there.remove("shared");
    await new Promise((resolve) => setTimeout(resolve, 5));
    node.set("by both", "node");
    await there.synced();
    await node.synced();
    assert.equal(node.has("offline"), false);
    assert.equal((await here.status()).unsent, 2);
    await context.setOffline(false);
    await here.synced();
    const all = { "by both": "node", meanwhile: 2, offline: 1 };
    await until(() => node.size === 3);
    await until(() => there.has("offline"));
    await until(async () => !(await here.has("shared")));
    assert.deepEqual(
      [Object.fromEntries(node), await here.contents(), await there.contents()],
      [all, all, all],
    );
    await until(async () => (await here.status()).unsent === 0);
    await node.close();
  }, 60_000);

  test("a page that is loaded without the server has its map, and its unsent writes arrive later", async () => {
    await using at = await open();
    const node = await at.fl.openGossipMap("todo");
    const { tab } = await at.context();
    const first = await tab();
    await first.set("sent", 1);
    await first.synced();
    at.proxy.refuse();
    await first.set("unsent", 2);
    // The page is left immediately after the write.
    const second = await at.load(first.page);
    assert.deepEqual(await second.contents(), { sent: 1, unsent: 2 });
    await second.set("unsent too", 3);
    const third = await at.load(second.page);
    assert.deepEqual(await third.contents(), { sent: 1, unsent: 2, "unsent too": 3 });
    const { unsent, storageError } = await third.status();
    assert.deepEqual([unsent, storageError], [2, undefined]);
    assert.equal(node.has("unsent"), false);
    at.proxy.heal();
    await until(() => node.size === 3);
    await until(async () => (await third.status()).unsent === 0);
    await node.close();
  }, 60_000);

  test.each(["closed", "killed"])(
    "tabs share one connection, and go on when the leading one is %s",
    async (end) => {
      await using at = await open();
      const { tab } = await at.context();
      const [one, two, three] = [await tab(), await tab(), await tab()];
      for (const { status } of [one, two, three])
        await until(async () => (await status()).current === "connected");
      assert.equal(at.server.tunnels.sessions.size, 1);
      await one.set("one", 1);
      await until(() => three.has("one"));
      at.proxy.refuse();
      await one.set("unsent", 1);
      await until(() => two.has("unsent"));
      if (end === "closed") await one.page.close();
      else await one.page.goto("chrome://crash").catch(() => {});
      at.proxy.heal();
      await two.set("two", 2);
      await two.synced();
      await until(() => three.has("two"));
      const node = await at.fl.openGossipMap("todo");
      assert.deepEqual(Object.fromEntries(node), { one: 1, two: 2, unsent: 1 });
      await until(() => at.server.tunnels.sessions.size === 1);
      await until(async () => (await three.status()).current === "connected");
      await node.close();
    },
    60_000,
  );

  test("a killed tab disappears from presence within seconds, and so does what it has set as ephemeral", async () => {
    await using at = await open();
    const [{ tab }, elsewhere] = [await at.context(), await at.context()];
    const [one, two, there] = [await tab(), await tab(), await elsewhere.tab()];
    for (const [i, { page }] of [one, two, there].entries()) {
      await page.evaluate(
        ([url, id]) => globalThis.gossip.enter(url as string, id as string),
        [at.proxy.url, `tab ${i}`],
      );
      await page.evaluate((key) => globalThis.gossip.setEphemeral(key), `of ${i}`);
    }
    const present = ({ page }: { page: Page }) => page.evaluate(() => globalThis.gossip.present()?.join());
    for (const each of [one, two, there])
      await until(async () => (await present(each)) === "tab 0,tab 1,tab 2");
    await until(async () => (await there.has("of 0")) && (await there.has("of 1")));
    const beganMs = performance.now();
    // The second tab has no stream of its own for the map, so it is the leading one that sees its end.
    await two.page.goto("chrome://crash").catch(() => {});
    for (const each of [one, there]) await until(async () => (await present(each)) === "tab 0,tab 2");
    await until(async () => !(await there.has("of 1")));
    assert.ok(await there.has("of 0"));
    await one.page.goto("chrome://crash").catch(() => {});
    await until(async () => (await present(there)) === "tab 2");
    await until(async () => !(await there.has("of 0")));
    assert.ok(performance.now() - beganMs < 20_000);
  }, 60_000);

  test("10 000 keys are there before the network", async () => {
    await using at = await open();
    const { tab } = await at.context();
    const first = await tab();
    await first.page.evaluate(() => globalThis.gossip.fill(10_000));
    await first.page.evaluate(() => globalThis.gossip.close());
    at.proxy.refuse();
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const { page, tookMs } = await at.load(first.page);
      assert.equal(await page.evaluate(() => globalThis.gossip.size()), 10_000);
      times.push(Math.round(tookMs));
    }
    console.log(`10 000 keys were loaded in ${times.join(", ")} ms`);
    assert.ok(Math.min(...times) < 1000, `it took ${times} ms`);
  }, 60_000);
});
