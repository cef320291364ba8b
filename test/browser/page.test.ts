import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, test } from "vitest";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { bundle } from "./bundle.js";
import type { Told } from "./page.js";

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const missing = !existsSync(executablePath);
if (missing)
  console.log(`skipped: no Chromium at ${executablePath}; apt-get install chromium, or set CHROMIUM to one`);

declare global {
  var here: () => Promise<Told>;
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
