import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import type { Mutant } from "./mutant.js";

const root = process.cwd();

/** The problem of an entry whose text does not occur exactly once in its file; undefined if there is none. */
export function misplaced({ file, find, replace }: Mutant): string | undefined {
  const times = readFileSync(join(root, "src/server", file), "utf8").split(find).length - 1;
  if (times !== 1) return `${file} has ${times} times, not once: ${find}`;
  return find === replace ? `${file} is not changed by: ${find}` : undefined;
}

/** An esbuild plugin that replaces the mutant's text in its file. */
const seedPlugin = ({ file, find, replace }: Mutant): Plugin => ({
  name: "seeded",
  setup({ onLoad }) {
    const path = join(root, "src/server", file);
    onLoad({ filter: new RegExp(`${path.replaceAll(/[.\\]/g, "\\$&")}$`) }, () => {
      return { contents: readFileSync(path, "utf8").replace(find, () => replace), loader: "ts" };
    });
  },
});

/** Builds run-cases.ts into `outfile`, with `mutant` in its server. */
export async function buildRunner(outfile: string, mutant?: Mutant): Promise<void> {
  await build({
    entryPoints: [join(root, "test/mutants/run-cases.ts")],
    outfile,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "es2022",
    logLevel: "silent",
    plugins: mutant ? [seedPlugin(mutant)] : [],
  });
}
