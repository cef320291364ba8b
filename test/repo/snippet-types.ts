// Type-checks the TypeScript snippets of the documentation and of doc comments, as a user's own files against the built
// package. Run by .ci/run, in the root of the repository.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pages, snippets, sourceExamples } from "../support/snippets.js";

const parent = join(process.cwd(), "test/.tmp");
mkdirSync(parent, { recursive: true });
const folder = mkdtempSync(join(parent, "types-"));
try {
  for (const page of pages)
    for (const [i, code] of snippets(page, "ts").entries()) write(`${page}-${i}`, code);
  for (const { file, name, code } of sourceExamples) write(`${file}-${name}`, code);
  const compilerOptions = { noEmit: true, rootDir: "../../.." };
  const tsconfig = { extends: "../../../tsconfig.json", compilerOptions, include: ["*.ts"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig));
  execFileSync("npx", ["tsc", "-p", folder], { stdio: "inherit" });
} catch {
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}

/** The compiler's messages name the file, so that it is called after where the snippet is. */
function write(place: string, code: string): void {
  writeFileSync(join(folder, `${place.replaceAll(/\W+/g, "-")}.ts`), `${code}\nexport {};\n`);
}
