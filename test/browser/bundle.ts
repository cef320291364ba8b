import { join } from "node:path";
import { build } from "vite";
import { aliases } from "../vitest.config.js";

type Chunk = { fileName: string; code?: string };

/** Bundles the sources for browsers; returns the scripts by path. `entries`: files of this folder by name. */
export async function bundle(entries: Record<string, string>): Promise<Map<string, string>> {
  const result = await build({
    configFile: false,
    logLevel: "silent",
    resolve: { alias: aliases },
    build: {
      write: false,
      minify: false,
      target: "es2022",
      lib: {
        entry: Object.fromEntries(
          Object.entries(entries).map(([name, file]) => [name, join(import.meta.dirname, file)]),
        ),
        formats: ["es"],
      },
    },
  });
  const [{ output }] = (Array.isArray(result) ? result : [result]) as [{ output: Chunk[] }];
  return new Map(output.map(({ fileName, code = "" }) => [`/${fileName}`, code]));
}
