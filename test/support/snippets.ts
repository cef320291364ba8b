import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

// Not import.meta.dirname: test/repo/snippet-types.ts is bundled into another folder.
const root = process.cwd();

/** The text of a file, by its path from the root of the repository. */
export const read = (path: string): string => readFileSync(join(root, path), "utf8");

const filesIn = (folder: string, ending: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending) && !file.startsWith(".vitepress/"))
    .map((file) => `${folder}/${file}`);

/** Every page for users, by its path from the root of the repository. */
export const pages = ["README.md", ...filesIn("docs", ".md")];

/** The snippets of a page in one language. */
export const snippets = (page: string, language: string): string[] =>
  [...read(page).matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, tag]) => tag === language)
    .map(([, , code = ""]) => code);

/** What a snippet prints, by the comments behind its console.log(): all lines, joined by ", ". */
export const expectedOutput = (code: string): string =>
  [...code.matchAll(/console\.log\(.*\);(?: \})? \/\/ (.*)$/gm)].map(([, text]) => text).join(", ");

/** An exported declaration of src/. */
interface Declaration {
  file: string;
  name: string;
}

/** The `@example` of a declaration's doc comment. */
interface Example extends Declaration {
  code: string;
  /** False if its fence is "ts browser" or "ts no-run": it needs a page or a test runner, so only its types are checked. */
  isRunnable: boolean;
}

const DOCUMENTED =
  /^\/\*\*\n((?: \*.*\n)*?) \*\/\nexport (?:async )?(?:function\*?|const|class|interface|type) (\w+)/gm;
const EXAMPLE = /^@example\n```ts( browser| no-run)?\n([\s\S]*?)^```$/gm;

/** The examples in the doc comments of one file. */
const examplesIn = (file: string): Example[] =>
  [...read(file).matchAll(DOCUMENTED)].flatMap(([, comment = "", name = ""]) =>
    [...comment.replaceAll(/^ \* ?/gm, "").matchAll(EXAMPLE)].map(([, tag, code = ""]) => ({
      file,
      name,
      code,
      isRunnable: tag === undefined,
    })),
  );

/** The examples in the doc comments of src/. */
export const sourceExamples: readonly Example[] = filesIn("src", ".ts").flatMap(examplesIn);

/** Everything that the package, or one of its entry points, exports, with the files that declare it. */
export function publicDeclarations(entryPoint?: string): Declaration[] {
  const { exports } = JSON.parse(read("package.json")) as { exports: Record<string, { types?: string }> };
  const entries = Object.values(exports).flatMap(
    ({ types }) => /^\.\/dist\/(src\/.*)\.d\.ts$/.exec(types ?? "")?.[1] ?? [],
  );
  return entries
    .map((entry) => `${entry}.ts`)
    .filter((file) => entryPoint === undefined || file === entryPoint)
    .flatMap(exportsOf);
}

/** The names that a file exports, types too, with the files that declare them. */
function exportsOf(file: string): Declaration[] {
  const code = read(file);
  const declared = code.matchAll(/^export (?:async )?(?:function\*?|const|class|interface|type) (\w+)/gm);
  const reexports = code.matchAll(/^export (?:type )?\{([^}]*)\} from "(\..*)\.js";/gm);
  return [
    ...[...declared].map(([, name = ""]) => ({ file, name })),
    ...[...reexports].flatMap(([, names = "", path = ""]) => {
      const exported = new Set(names.split(",").map((name) => name.trim().replace(/^type /, "")));
      return exportsOf(join(dirname(file), `${path}.ts`)).filter(({ name }) => exported.has(name));
    }),
  ];
}
