import { execFile } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { build, type Plugin } from "esbuild";
import { cases } from "../../src/conformance/suite.js";
import { type Mutant, mutants } from "./list.js";

const run = promisify(execFile);
const root = process.cwd();
const out = join(root, "test/.tmp/mutants");

/** How many run at the same time: one for each of the two cores that CI has. */
const AT_ONCE = 2;

/** Puts the mutant's text in the place of what it replaces, which has to be there exactly once. */
const seeded = ({ file, find, replace }: Mutant): Plugin => ({
  name: "seeded",
  setup({ onLoad }) {
    const path = join(root, "src/server", file);
    onLoad({ filter: new RegExp(`${path.replaceAll(/[.\\]/g, "\\$&")}$`) }, async () => {
      const { readFile } = await import("node:fs/promises");
      const text = await readFile(path, "utf8");
      if (text.split(find).length !== 2) throw new Error(`${file} does not have once: ${find}`);
      return { contents: text.replace(find, () => replace), loader: "ts" };
    });
  },
});

/** The cases that fail with the mutant seeded; without one, those that fail anyway. */
async function killers(
  mutant: Mutant | undefined,
  primitives: readonly string[],
  i: number,
): Promise<string[]> {
  const outfile = join(out, `${i}.mjs`);
  await build({
    entryPoints: [join(root, "test/mutants/judge.ts")],
    outfile,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "es2022",
    logLevel: "error",
    plugins: mutant ? [seeded(mutant)] : [],
  });
  const { stdout } = await run(process.execPath, [outfile, ...primitives], {
    maxBuffer: 2 ** 24,
    timeout: 300_000,
  });
  return JSON.parse(stdout) as string[];
}

const wanted = process.argv.slice(2);
const chosen = mutants.filter(
  ({ file }) => wanted.length === 0 || wanted.some((part) => file.includes(part)),
);
mkdirSync(out, { recursive: true });
const killed = new Set<string>();
let survivors = 0;
const waiting = chosen.entries();
const work = async () => {
  for (const [i, mutant] of waiting) {
    const names = await killers(mutant, mutant.primitives, i);
    for (const name of names) killed.add(name);
    const expected = names.filter((name) => mutant.kills.test(name));
    if (expected.length === 0) survivors++;
    const verdict = expected.length > 0 ? "killed  " : "SURVIVED";
    const told =
      expected.length > 0
        ? `by ${names.length}`
        : `not by ${mutant.kills}${names.length > 0 ? `, but by ${names.length}` : ""}`;
    process.stdout.write(`${verdict} ${mutant.file}: ${mutant.what}, ${told}\n`);
  }
};
const healthy = await killers(undefined, [...new Set(chosen.flatMap(({ primitives }) => primitives))], -1);
for (const name of healthy) process.stdout.write(`FAILS WITHOUT A MUTANT ${name}\n`);
await Promise.all(Array.from({ length: AT_ONCE }, work));
rmSync(out, { recursive: true });
const unproven = cases.filter(({ primitive, name }) => !killed.has(`${primitive}: ${name}`));
process.stdout.write(
  `\n${chosen.length - survivors} of ${chosen.length} mutants killed, by ${killed.size} of ${cases.length} cases\n`,
);
if (process.env["UNPROVEN"])
  for (const { primitive, name } of unproven) process.stdout.write(`unproven ${primitive}: ${name}\n`);
process.exitCode = survivors > 0 || healthy.length > 0 ? 1 : 0;
