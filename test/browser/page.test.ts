import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { build } from "vite";
import { afterAll, beforeAll, describe, test } from "vitest";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { aliases } from "../vitest.config.js";
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
    const scripts = await bundle();
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
    test(`over fetch by ${protocol}, from another origin: what fetch can do works, the rest says what would`, async () => {
      await using at = await listen(createServer({ platform: nodePlatform }), { port: 0 });
      await using fl = createClient(createNodeTransport(at.url));
      await fl.log<string>("seen").append(["a", "b"]);
      await fl.files().put("seen.txt", "from a file");
      const told = await page.evaluate(([url, by]) => globalThis.there(url, by), [at.url, protocol] as const);
      assert.match(String(told["upload"]), /PutFile sends a stream, which fetch cannot do/);
      assert.deepEqual(
        { ...told, upload: true },
        {
          "etag is exposed": true,
          conflict: true,
          state: 2,
          "fence is exposed": "bigint",
          log: "a,b",
          files: "from a file",
          upload: true,
          unreachable: true,
        },
      );
    });
  }
});

/** The page as a browser takes it, from the sources: what is at which path. */
async function bundle(): Promise<Map<string, string>> {
  const result = await build({
    configFile: false,
    logLevel: "silent",
    resolve: { alias: aliases },
    build: {
      write: false,
      minify: false,
      target: "es2022",
      lib: { entry: join(import.meta.dirname, "page.ts"), formats: ["es"], fileName: "page" },
    },
  });
  const [{ output }] = (Array.isArray(result) ? result : [result]) as [{ output: Chunk[] }];
  return new Map(output.map(({ fileName, code = "" }) => [`/${fileName}`, code]));
}

type Chunk = { fileName: string; code?: string };
