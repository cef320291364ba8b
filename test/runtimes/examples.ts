import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { reactPage, vitePage } from "./examples/pages.js";
import { cloudflareWorker, deno, grpcJs, nodeCallbacks } from "./examples/programs.js";
import type { Host } from "./host.js";

const root = join(import.meta.dirname, "../../..");

/** What an example is run with. */
export interface Place {
  /** A copy of the example outside of the repository, with its dependencies and the packed package installed. */
  folder: string;
  /** The URL of the server. */
  url: string;
  /** The port that the server calls an app on. */
  port: number;
  /** The folder for screenshots of the pages; undefined: none are taken. */
  shots: string | undefined;
}

/** Needs nats-server, and servers of its own: .ci/check-cluster-example runs it. */
const CLUSTER_EXAMPLE = "cluster";

/** The check of each example, by the name of its folder. It throws if the example does not do what it shows. */
const EXAMPLES: Readonly<Record<string, (place: Place) => Promise<void>>> = {
  "vite-page": vitePage,
  react: reactPage,
  "cloudflare-worker": cloudflareWorker,
  deno,
  "node-callbacks": nodeCallbacks,
  "grpc-js": grpcJs,
};

/** The app in the server's configuration that the example node-callbacks serves. */
export const EXAMPLE_APP = "billing";

/** The examples as they are installed, by name, and those that could not be. */
interface InstalledExamples {
  folders: ReadonlyMap<string, string>;
  failed: string[];
}

/** Copies every example into `parent` and installs it there as its user would, with the package from its tarball. */
export async function installExamples(parent: string): Promise<InstalledExamples> {
  const tarball = await packPackage(parent);
  const folders = new Map<string, string>();
  const failed: string[] = [];
  const install = async (name: string) => {
    const folder = join(parent, "examples", name);
    cpSync(join(root, "examples", name), folder, { recursive: true });
    // The worker's only development dependency is wrangler: 100 MB that the check does without.
    const omitted = name === "cloudflare-worker" ? ["--omit=dev"] : [];
    const options = ["--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", ...omitted];
    try {
      await promisify(execFile)("npm", ["install", ...options, tarball], { cwd: folder });
      folders.set(name, folder);
    } catch (error) {
      failed.push(`example ${name}: ${(error as Error).message}`);
    }
  };
  const names = readdirSync(join(root, "examples")).filter(
    (name) => !name.endsWith(".md") && name !== CLUSTER_EXAMPLE,
  );
  await Promise.all(names.map(install));
  return { folders, failed };
}

/** Packs the package as it is built; returns the path of the tarball. */
async function packPackage(folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const pack = ["pack", "--ignore-scripts", "--json", "--pack-destination", folder];
  const { stdout } = await promisify(execFile)("npm", pack, { cwd: root });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  return join(folder, filename);
}

/** Runs every installed example against the server. Returns the failures. */
export async function runExamples(
  host: Host,
  { folders, failed }: InstalledExamples,
  shots: string | undefined,
): Promise<string[]> {
  const failures = [...failed];
  for (const [name, folder] of [...folders].sort()) {
    const check = EXAMPLES[name];
    const port = host.callbackPorts.get(EXAMPLE_APP) ?? 0;
    const startMs = performance.now();
    try {
      if (!check) throw new Error("no check runs it");
      await check({ folder, url: host.url, port, shots });
      console.log(`example ${name}: ok (${((performance.now() - startMs) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failures.push(`example ${name}: ${(error as Error).message}`);
    }
  }
  for (const failure of failures) console.log(failure);
  return failures;
}
