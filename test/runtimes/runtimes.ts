import type { Bundles } from "./bundles.js";
import { type Launch, runBrowser, type Within } from "./drivers/browser.js";
import { inChromium } from "./drivers/chromium.js";
import { inFirefox } from "./drivers/firefox.js";
import { runProgram } from "./drivers/program.js";
import { inWebkit } from "./drivers/webkit.js";
import { runWorkerd } from "./drivers/workerd.js";
import * as programs from "./programs.js";
import type { CaseResult, Setting } from "./suite/case.js";

/** The input of a driver. */
interface Task {
  setting: Setting;
  bundles: Bundles;
  /** The script that the programs run. */
  script: string;
  /** A folder of its own. */
  folder: string;
  limitMs: number;
}

/** A runtime: a row of the table. */
export interface Runtime {
  name: string;
  /** True if it can listen on a port. */
  listens: boolean;
  /** The command that installs it, if it is not installed; else undefined. */
  missing: string | undefined;
  /** Installs it from npm. */
  install?: () => Promise<unknown>;
  run(task: Task): Promise<CaseResult[]>;
}

const program = (name: string, path: () => Promise<string>, ...args: string[]): Runtime => ({
  name,
  listens: true,
  missing: undefined,
  install: path,
  run: async (task) => runProgram([await path(), ...args], task),
});

const node = (version: string) => program(`Node ${version.split(".")[0]}`, () => programs.node(version));

/** A page of a browser, and its workers. `launch` is undefined if the browser is not installed. */
const browser = (name: string, launch: Launch | undefined, packages: string): Runtime[] =>
  (["page", "SharedWorker", "service worker"] satisfies Within[]).map((within) => ({
    name: within === "page" ? name : `${name}, ${within}`,
    listens: false,
    missing: launch ? undefined : `apt-get install ${packages}`,
    run: ({ bundles: { scripts }, ...task }) => {
      if (!launch) throw new Error(`${name} is not installed: apt-get install ${packages}`);
      return runBrowser(launch, { ...task, scripts, within });
    },
  }));

const { chromium, firefox, webkit, xvfb } = programs;

/** Every runtime that the package supports. */
export const RUNTIMES: readonly Runtime[] = [
  node("20.19.0"),
  node("22.23.3"),
  node("24.21.0"),
  node("26.10.0"),
  program("Deno", programs.deno, "run", "-A", "--quiet", "--no-lock"),
  program("Bun", programs.bun),
  {
    name: "workerd",
    listens: false,
    missing: undefined,
    install: programs.workerd,
    run: async ({ bundles, ...task }) =>
      runWorkerd(await programs.workerd(), { ...task, script: bundles.workerd }),
  },
  ...browser("Chromium", chromium ? inChromium(chromium) : undefined, "chromium"),
  ...browser("Firefox", firefox ? inFirefox(firefox) : undefined, "firefox-esr"),
  ...browser("WebKitGTK", webkit && xvfb ? inWebkit(webkit, xvfb) : undefined, "webkit2gtk-driver xvfb"),
];
