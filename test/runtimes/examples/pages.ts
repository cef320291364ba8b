import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { promisify } from "node:util";
import { chromium, type Page } from "playwright-core";
import type { Place } from "../examples.js";
import { listening } from "../host.js";
import * as programs from "../programs.js";

/** Builds the page with the Vite that the example installs, opens it in two tabs of Chromium, and runs `task` on them. */
async function inTabs(
  place: Place,
  name: string,
  task: (one: Page, other: Page) => Promise<void>,
): Promise<void> {
  const { folder, url, shots } = place;
  if (!programs.chromium) throw new Error("Chromium is not installed: apt-get install chromium");
  await runBinary(folder, "vite", ["build"], { VITE_FAIRLEAD_URL: url });
  const origin = createServer((request, response) => {
    const path = request.url === "/" ? "/index.html" : (request.url ?? "");
    const types: Record<string, string> = { html: "text/html", js: "text/javascript", css: "text/css" };
    const type = types[path.split(".").at(-1) ?? ""];
    if (!type || path.includes("..")) return void response.writeHead(404).end();
    response.setHeader("content-type", type);
    response.end(readFileSync(join(folder, "dist", path)));
  });
  const at = await listening(origin);
  const browser = await chromium.launch({
    executablePath: programs.chromium,
    args: ["--no-sandbox", "--disable-gpu"],
  });
  try {
    const errors: string[] = [];
    const open = async () => {
      const page = await browser.newPage({ viewport: { width: 720, height: 480 } });
      page.on("pageerror", (error) => errors.push(String(error)));
      await page.goto(at);
      return page;
    };
    const [one, other] = [await open(), await open()];
    await task(one, other);
    if (shots) await other.screenshot({ path: join(shots, `${name}.png`) });
    assert.deepEqual(errors, []);
  } finally {
    await browser.close();
    origin.close();
  }
}

export const vitePage = (place: Place): Promise<void> =>
  inTabs(place, "vite-page", async (one, other) => {
    for (const item of ["pears", "plums"]) {
      await one.fill("input", item);
      await one.click("button");
      await one.waitForFunction(() => document.querySelector("input")?.value === "");
    }
    await other.waitForFunction(() => document.querySelectorAll("li").length === 2);
    const texts = await other.locator("li").allTextContents();
    assert.deepEqual(
      texts.map((text) => text.slice(0, 5)),
      ["pears", "plums"],
    );
  });

export async function reactPage(place: Place): Promise<void> {
  await runBinary(place.folder, "tsc", ["-p", "."]);
  await inTabs(place, "react", async (one, other) => {
    await one.fill("input", "ada");
    await one.click("text=sign in");
    await other.fill("input", "bob");
    await other.click("text=sign in");
    for (const page of [one, other])
      await page.waitForFunction(() => document.querySelectorAll("li").length === 2);
    const guests = (await one.locator("li").allTextContents()).map((text) => text.split(",")[0]);
    assert.deepEqual(guests, ["ada", "bob"]);
    await one.click("text=dark theme for all");
    await other.waitForSelector('main[data-theme="dark"]');
  });
}

/** Runs a program of the packages that an example has installed. Its output is the error's message if it fails. */
async function runBinary(folder: string, name: string, args: string[], env: Record<string, string> = {}) {
  const options = { cwd: folder, env: { ...process.env, ...env } };
  await promisify(execFile)(join(folder, "node_modules/.bin", name), args, options).catch((error) => {
    throw new Error(`${name} ${args.join(" ")}: ${error.stdout}${error.stderr}`);
  });
}
