import { cpSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { reactPage, vitePage } from "./examples/pages.js";
import { cloudflareWorker, deno, grpcJs, nodeCallbacks } from "./examples/programs.js";
import type { Host } from "./host.js";

const root = join(import.meta.dirname, "../../..");

/** What an example is run with. */
export interface Place {
  /** The example as its user would have it, beside a `node_modules` with what it depends on. */
  folder: string;
  /** Where the server is. */
  url: string;
  /** The port that the server calls an app on. */
  port: number;
  /** Where the pages' pictures go; undefined: nowhere. */
  shots: string | undefined;
}

/** Each example, by the name of its folder. It throws where it does not do what it is there to show. */
const EXAMPLES: Readonly<Record<string, (place: Place) => Promise<void>>> = {
  "vite-page": vitePage,
  react: reactPage,
  "cloudflare-worker": cloudflareWorker,
  deno,
  "node-callbacks": nodeCallbacks,
  "grpc-js": grpcJs,
};

/** The app of the server's configuration that an example is. */
export const EXAMPLE_APP = "billing";

/** Runs every example against the server, each from a copy outside of the repository. What failed. */
export async function runExamples(host: Host, within: string, shots: string | undefined): Promise<string[]> {
  const all = readdirSync(join(root, "examples")).filter((name) => !name.endsWith(".md"));
  const failed = all.filter((name) => !EXAMPLES[name]).map((name) => `example ${name}: nothing runs it`);
  const copies = join(within, "examples");
  mkdirSync(join(copies, "node_modules"), { recursive: true });
  symlinkSync(root, join(copies, "node_modules/fairlead"));
  for (const each of ["react", "react-dom", "vite", "@types", "@grpc"]) {
    symlinkSync(join(root, "node_modules", each), join(copies, "node_modules", each));
  }
  for (const [name, run] of Object.entries(EXAMPLES)) {
    const folder = join(copies, name);
    cpSync(join(root, "examples", name), folder, { recursive: true });
    const port = host.callbackPorts.get(EXAMPLE_APP) ?? 0;
    const began = performance.now();
    try {
      await run({ folder, url: host.url, port, shots });
      console.log(`example ${name}: ok (${((performance.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed.push(`example ${name}: ${(error as Error).message}`);
    }
  }
  for (const each of failed) console.log(each);
  return failed;
}
