import { readFile } from "node:fs/promises";
import { findNodeAtLocation, type Node, type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";
import { quote } from "../lib/quote.js";
import {
  type Config,
  ConfigError,
  type ConfigInput,
  type ConfigProblem,
  checkReferences,
  parseConfig,
} from "../server/index.js";
import { nodePlatform } from "../server/node.js";
import { UsageError } from "./command-line.js";
import { reasonOf } from "./error-text.js";

/** The default path of the components file. */
export const CONFIG_FILE = "fairlead.json";

/** A valid components file. */
export interface ConfigFile {
  input: ConfigInput;
  config: Config;
  /** Missing references without which a server can run: one line each, with its position. */
  warnings: string[];
}

/** The engines that `fairlead serve` has. */
const ENGINES = Object.keys(parseConfig().engines);

/**
 * Reads and checks the components file at `path`, with the environment variables and files that it refers to. It is
 * JSON with comments and trailing commas. Fails with all problems, one per line: `<path>:<line>:<column>: <field>
 * <value>: <problem>`.
 *
 */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  const text = (await read(path)).replace(/^\ufeff/, " ");
  const mistakes: ParseError[] = [];
  const tree = parseTree(text, mistakes, { allowTrailingComma: true });
  const problems = mistakes.filter(isNoConsequence(text)).map(({ error, offset }) => {
    return { offset, message: parseErrorMessage(printParseErrorCode(error)) };
  });
  if (!tree || problems.length > 0) throw invalidFileError(path, text, problems);
  problems.push(...findDuplicateNames(tree));
  const input = dataOf(tree);
  let config: Config | undefined;
  let warnings: string[] = [];
  try {
    config = parseConfig(input, { engines: ENGINES });
    const missing = await checkReferences(config, nodePlatform);
    for (const problem of missing.problems) {
      problems.push({ offset: offsetOf(tree, problem), message: problem.message });
    }
    warnings = linesOf(
      path,
      text,
      missing.warnings.map((problem) => ({ offset: offsetOf(tree, problem), message: problem.message })),
    );
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const problem of error.problems) {
      problems.push({ offset: offsetOf(tree, problem), message: problem.message });
    }
  }
  if (!config || problems.length > 0) throw invalidFileError(path, text, problems);
  return { input: input as ConfigInput, config, warnings };
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new UsageError(`Cannot read the components file ${quote(path)}: ${reasonOf(error)}`);
  }
}

type LocatedMessage = { offset: number; message: string };

function invalidFileError(path: string, text: string, problems: LocatedMessage[]): Error {
  return new Error(`Cannot use the components file:\n${linesOf(path, text, problems).join("\n")}`);
}

function linesOf(path: string, text: string, problems: LocatedMessage[]): string[] {
  return problems
    .sort((a, b) => a.offset - b.offset)
    .map(({ offset, message }) => {
      const { line, column } = placeOf(text, offset);
      return `${path}:${line}:${column}: ${message}`;
    });
}

function placeOf(text: string, offset = 0): { line: number; column: number } {
  const before = text.slice(0, offset).split(/\r\n|\r|\n/);
  return { line: before.length, column: (before.at(-1) ?? "").length + 1 };
}

/** Keeps the first parse error of each line. One missing comma causes many more, and one at the end of the file. */
function isNoConsequence(text: string): (mistake: ParseError, i: number, all: ParseError[]) => boolean {
  return ({ error, offset }, i, all) => {
    const before = all[i - 1];
    if (!before) return true;
    const atEnd = printParseErrorCode(error) === "EndOfFileExpected";
    return !atEnd && placeOf(text, offset).line !== placeOf(text, before.offset).line;
  };
}

/** The message for a code of the parser: "CommaExpected" becomes "not JSON: comma expected". */
function parseErrorMessage(code: string): string {
  const words = code.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).trim();
  return `not JSON: ${words}`;
}

/** Finds names that an object has more than once. JSON.parse() would keep the last one without an error. */
function findDuplicateNames({ type, children = [] }: Node): LocatedMessage[] {
  const problems = children.flatMap(findDuplicateNames);
  if (type !== "object") return problems;
  const seen = new Set<unknown>();
  for (const { children: [name] = [] } of children) {
    if (!name) continue;
    if (seen.has(name.value)) {
      problems.push({ offset: name.offset, message: `${JSON.stringify(name.value)} is defined twice` });
    }
    seen.add(name.value);
  }
  return problems;
}

/** The value of a syntax tree. The name "__proto__" is an ordinary name. */
function dataOf({ type, value, children = [] }: Node): unknown {
  if (type === "array") return children.map(dataOf);
  if (type !== "object") return value;
  return Object.fromEntries(
    children.map(({ children: [name, held] = [] }) => [name?.value, held && dataOf(held)]),
  );
}

/** The offset of a problem. For a missing field it is the offset of the object that lacks it. */
function offsetOf(tree: Node, { path, wrong }: ConfigProblem): number {
  for (let length = path.length; length > 0; length--) {
    const node = findNodeAtLocation(tree, path.slice(0, length));
    if (!node) continue;
    const name = wrong === "name" && length === path.length ? node.parent?.children?.[0] : undefined;
    return (name ?? node).offset;
  }
  return tree.offset;
}
