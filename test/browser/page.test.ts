import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Code } from "@connectrpc/connect";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, test } from "vitest";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import { bundle } from "./bundle.js";
import type { Told } from "./page.js";

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const missing = !existsSync(executablePath);
if (missing)
  console.log(`skipped: no Chromium at ${executablePath}; apt-get install chromium, or set CHROMIUM to one`);

declare global {
  var here: () => Promise<Told>;
  var first: (url: string) => Promise<Told>;
  var follow: (url: string, prefer: "fetch" | "tunnel") => void;
  var followed: unknown[];
  var rawCode: number | undefined;
  var there: (url: string, protocol: "connect" | "grpc-web") => Promise<Told>;
}

describe.skipIf(missing)("in Chromium", () => {
  let browser: Browser;
  let page: Page;
  let origin: ReturnType<typeof createHttpServer>;
  const errors: string[] = [];

  beforeAll(async () => {
    const scripts = await bundle({ page: "page.ts" });
    origin = createHttpServer((request, response) => {
      const script = scripts.get(request.url ?? "");
      response.setHeader("content-type", script ? "text/javascript" : "text/html");
      response.end(script ?? '<!doctype html><script type="module" src="/page.js"></script>');
    });
    await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", resolve));
    browser = await chromium.launch({
      executablePath,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
    page = await browser.newPage();
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(`http://127.0.0.1:${(origin.address() as AddressInfo).port}/`);
    await page.waitForFunction("typeof globalThis.there === 'function'");
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    origin?.close();
    assert.deepEqual(errors, []);
  });

  test("a tab is a server of its own: every primitive works in process", async () => {
    assert.deepEqual(await page.evaluate(() => globalThis.here()), {
      state: 1,
      lock: "bigint",
      sequencer: "1",
      files: "hello blob",
      map: "1",
      log: "a,b",
      gossipMap: "online",
      configuration: "dark",
      pubsub: "pear",
      secrets: "s3cret",
      bindings: 7,
      hello: "Hello, tab",
    });
  });

  test("nothing that a page does first logs a failed request: a server's extensions are detected without one", async () => {
    await using at = await listen(createServer({ platform: nodePlatform }), { port: 0 });
    const red: string[] = [];
    page.on("console", (message) => message.type() === "error" && red.push(message.text()));
    page.on("response", (response) => response.status() >= 400 && red.push(response.url()));
    assert.deepEqual(await page.evaluate((url) => globalThis.first(url), at.url), {
      ifAbsent: "string",
      update: 1,
      put: "bigint",
      fence: "string",
      log: "a",
      configuration: "object",
    });
    assert.deepEqual(red, []);
    page.removeAllListeners("console");
    page.removeAllListeners("response");
  });

  for (const [how, by] of (["cut", "reset", "stall", "offline"] as const).flatMap((how) =>
    (["fetch", "tunnel"] as const).map((by) => [how, by] as const),
  )) {
    test(`a log that is read by ${by} goes on after its connection broke: ${how}`, async () => {
      await using at = await listen(createServer({ platform: nodePlatform }), { port: 0 });
      await using way = await openCuttableProxy(at.port);
      await using fl = createClient(createNodeTransport(at.url));
      await fl.log().append(["a"]);
      await page.evaluate(([url, by]) => globalThis.follow(url, by), [way.url, by] as const);
      await page.waitForFunction("globalThis.followed.length === 1");
      const startMs = performance.now();
      if (how !== "offline") way[how]();
      else {
        await page.context().setOffline(true);
        way.cut();
      }
      await fl.log().append(["b"]);
      if (how === "offline") await page.context().setOffline(false);
      await page.waitForFunction("globalThis.followed.length === 2");
      const tookMs = performance.now() - startMs;
      console.log(`Chromium, ${by}, ${how}: ${Math.round(tookMs)} ms`);
      assert.ok(tookMs < 10_000, `${tookMs} ms`);
      assert.deepEqual(await page.evaluate(() => globalThis.followed), ["a", "b"]);
      await page.waitForFunction("globalThis.rawCode !== undefined");
      assert.equal(await page.evaluate(() => globalThis.rawCode), Code.Unavailable);
      await page.reload();
      await page.waitForFunction("typeof globalThis.there === 'function'");
    });
  }

  for (const protocol of ["connect", "grpc-web"] as const) {
    test(`over fetch by ${protocol}, from another origin: what fetch can do goes by it, the rest through the tunnel`, async () => {
      await using at = await listen(createServer({ platform: nodePlatform }), { port: 0 });
      await using fl = createClient(createNodeTransport(at.url));
      await fl.log<string>("seen").append(["a", "b"]);
      await fl.files().put("seen.txt", "from a file");
      const told = await page.evaluate(([url, by]) => globalThis.there(url, by), [at.url, protocol] as const);
      assert.deepEqual(told, {
        "etag is exposed": true,
        conflict: true,
        state: 2,
        "fence is exposed": "bigint",
        log: "a,b",
        files: "from a file",
        upload: "by the tunnel",
        unreachable: true,
      });
    });
  }
});
