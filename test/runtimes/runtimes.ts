import type { Bundles } from "./bundles.js";
import { type Launch, runBrowser, type Within } from "./drivers/browser.js";
import { inChromium } from "./drivers/chromium.js";
import { inFirefox } from "./drivers/firefox.js";
import { runProgram } from "./drivers/program.js";
import { inWebkit } from "./drivers/webkit.js";
import { runWorkerd } from "./drivers/workerd.js";
import * as programs from "./programs.js";
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
  /** What has to be done for it by hand, as it is not there; undefined: nothing. */
  missing: string | undefined;
  /** Brings what npm has for it. */
  install?: () => Promise<unknown>;
  run(task: Task): Promise<Told[]>;
}

const program = (name: string, path: () => Promise<string>, ...args: string[]): Runtime => ({
  name,
  listens: true,
  missing: undefined,
  install: path,
  run: async (task) => runProgram([await path(), ...args], task),
});

const node = (version: string) => program(`Node ${version.split(".")[0]}`, () => programs.node(version));

/** A page of a browser, and its workers; it is not there where there is no `launch`. */
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

/** Every runtime that the package is held to. */
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
