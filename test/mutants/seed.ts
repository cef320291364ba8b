import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import type { Mutant } from "./mutant.js";

const root = process.cwd();

/** What is wrong with the entry itself: its text is not in its file, or not once. */
export function misplaced({ file, find, replace }: Mutant): string | undefined {
  const times = readFileSync(join(root, "src/server", file), "utf8").split(find).length - 1;
  if (times !== 1) return `${file} has ${times} times, not once: ${find}`;
  return find === replace ? `${file} is not changed by: ${find}` : undefined;
}

/** Puts the mutant's text in the place of what it replaces. */
const seeded = ({ file, find, replace }: Mutant): Plugin => ({
  name: "seeded",
  setup({ onLoad }) {
    const path = join(root, "src/server", file);
    onLoad({ filter: new RegExp(`${path.replaceAll(/[.\\]/g, "\\$&")}$`) }, () => {
      return { contents: readFileSync(path, "utf8").replace(find, () => replace), loader: "ts" };
    });
  },
});

/** Builds the judge into `outfile`, with `mutant` in its server. */
export async function buildJudge(outfile: string, mutant?: Mutant): Promise<void> {
  await build({
    entryPoints: [join(root, "test/mutants/judge.ts")],
    outfile,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "es2022",
    logLevel: "silent",
    plugins: mutant ? [seeded(mutant)] : [],
  });
}
