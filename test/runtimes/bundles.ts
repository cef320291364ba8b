import { join } from "node:path";
import { type BuildOptions, build } from "esbuild";

const here = join(import.meta.dirname, "..");

/** The suite with the built package, as one script for each kind of runtime. */
export interface Bundles {
  /** For programs: a file with `fairlead/node`. */
  program: string;
  /** For workerd, without Node APIs. */
  workerd: string;
  /** The files that a page's origin serves, by path. */
  scripts: ReadonlyMap<string, string>;
}

export async function bundles(): Promise<Bundles> {
  const [program, workerd, pages, workers] = await Promise.all([
    bundle(["program"], { platform: "node" }),
    bundle(["workerd"], { platform: "browser" }),
    bundle(["page", "shared-worker"], { platform: "browser", splitting: true }),
    // A service worker cannot import() while it runs, so it needs everything in one file.
    bundle(["service-worker"], { platform: "browser" }),
  ]);
  return {
    program: only(program),
    workerd: only(workerd),
    scripts: new Map([...pages, ...workers]),
  };
}

const only = (files: ReadonlyMap<string, string>): string => [...files.values()].join("");

/** The output files by path. */
async function bundle(entries: string[], options: BuildOptions): Promise<Map<string, string>> {
  const { outputFiles = [] } = await build({
    entryPoints: entries.map((name) => join(here, "suite/entries", `${name}.ts`)),
    outdir: "/",
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    logLevel: "warning",
    // `ws` is CommonJS and loads Node's modules by require().
    ...(options.platform === "node" && {
      banner: {
        js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
      },
    }),
    ...options,
  });
  return new Map(outputFiles.map(({ path, text }) => [path, text]));
}
