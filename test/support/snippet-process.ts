import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import { createServer } from "../../src/server/index.js";
import { type Listening, listen, nodePlatform } from "../../src/server/node.js";
import { aliases } from "../vitest.config.js";

const bundles = join(import.meta.dirname, ".tmp");

/** For esbuild: the package by its own name, from its sources; every other package as it is installed. */
const fairleadFromSources: Plugin = {
  name: "fairlead",
  setup({ onResolve }) {
    onResolve({ filter: /^[^./]/ }, ({ path }) => {
      const alias = aliases.find(({ find }) => find.test(path));
      return alias ? { path: path.replace(alias.find, alias.replacement) } : { path, external: true };
    });
  },
};

/** A server with a secret to show, as docs/primitives/secrets.md has it. */
export const openServer = (): Promise<Listening> =>
  listen(createServer({ platform: { ...nodePlatform, env: { FAIRLEAD_SECRET_DB: "hush" } } }), {
    port: 0,
    graceMs: 0,
  });

/**
 * Runs a snippet in a process and a folder of its own. It calls `server` instead of port 34904, and any free port is the
 * one that it listens on. `ended` has its status and the lines that it printed, joined by ", ".
 */
export async function startSnippet(server: Listening, name: string, code: string) {
  mkdirSync(bundles, { recursive: true });
  const outfile = join(bundles, `${name.replaceAll(/\W+/g, "-")}-${process.pid}.mjs`);
  const cwd = mkdtempSync(join(tmpdir(), "fairlead-snippet-"));
  await build({
    stdin: {
      contents: code.replaceAll("http://localhost:34904", server.url).replaceAll("port: 34904", "port: 0"),
      resolveDir: import.meta.dirname,
      loader: "ts",
    },
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "es2022",
    plugins: [fairleadFromSources],
  });
  const child = spawn(process.execPath, [outfile], { cwd, stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  child.stdout.on("data", (text: Buffer) => void (printed += text));
  const ended = once(child, "close").then(([status]) => {
    rmSync(outfile);
    rmSync(cwd, { recursive: true });
    return { status: status as number | null, printed: printed.trim().replaceAll("\n", ", ") };
  });
  return { child, ended };
}
