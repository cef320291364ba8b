import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";

const root = process.cwd();

/** A fault that is put into the code on purpose: texts of files below src/server and what replaces them. */
export interface SeededFault {
  readonly description: string;
  /** A seed that has found it: the search begins there. After other changes it may be another one. */
  readonly seed: number;
  readonly edits: readonly { readonly file: string; readonly find: string; readonly replace: string }[];
}

/** Bundles program.ts, with a fault in it if one is given. */
export async function bundleProgram(fault?: SeededFault): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(root, "test/map-simulation/program.ts")],
    bundle: true,
    write: false,
    format: "iife",
    globalName: "program",
    platform: "node",
    target: "es2022",
    logLevel: "warning",
    plugins: fault ? [seedPlugin(fault)] : [],
  });
  return outputFiles[0]?.text ?? "";
}

const seedPlugin = ({ edits }: SeededFault): Plugin => ({
  name: "seeded",
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/server\/.*\.ts$/ }, ({ path }) => {
      const own = edits.filter(({ file }) => path === join(root, "src/server", file));
      if (own.length === 0) return undefined;
      const contents = own.reduce(replaceOnce, readFileSync(path, "utf8"));
      return { contents, loader: "ts" };
    });
  },
});

/** Replaces the text of an edit, which must occur exactly once. */
function replaceOnce(source: string, { file, find, replace }: SeededFault["edits"][number]): string {
  const times = source.split(find).length - 1;
  if (times !== 1) throw new Error(`${file} has ${times} times, not once: ${find}`);
  return source.replace(find, () => replace);
}
