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

/** Where the components file is looked for when no other is named. */
export const CONFIG_FILE = "fairlead.json";

/** A components file that can be used. */
export interface ConfigFile {
  input: ConfigInput;
  config: Config;
  /** References that are missing but not required to run a server: one line each, with its position. */
  warnings: string[];
}

/** The engines that `fairlead serve` has. */
const ENGINES = ["memory", "disk"];

/**
 * Reads and checks the components file at `path`, with the environment variables and files that it refers to. It is JSON
 * that may have comments and trailing commas. Fails with every problem on a line of its own:
 * `<path>:<line>:<column>: <field> <value>: <what would be right>`.
 */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  const text = (await read(path)).replace(/^\ufeff/, " ");
  const mistakes: ParseError[] = [];
  const tree = parseTree(text, mistakes, { allowTrailingComma: true });
  const found = mistakes.filter(isNoConsequence(text)).map(({ error, offset }) => {
    return { offset, message: wrongJson(printParseErrorCode(error)) };
  });
  if (!tree || found.length > 0) throw refused(path, text, found);
  found.push(...twice(tree));
  const input = dataOf(tree);
  let config: Config | undefined;
  let warnings: string[] = [];
  try {
    config = parseConfig(input, { engines: ENGINES });
    const missing = await checkReferences(config, nodePlatform);
    for (const problem of missing.problems) {
      found.push({ offset: offsetOf(tree, problem), message: problem.message });
    }
    warnings = linesOf(
      path,
      text,
      missing.warnings.map((problem) => ({ offset: offsetOf(tree, problem), message: problem.message })),
    );
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const problem of error.problems) {
      found.push({ offset: offsetOf(tree, problem), message: problem.message });
    }
  }
  if (!config || found.length > 0) throw refused(path, text, found);
  return { input: input as ConfigInput, config, warnings };
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new UsageError(`Cannot read the components file ${quote(path)}: ${reasonOf(error)}`);
  }
}

type Found = { offset: number; message: string };

function refused(path: string, text: string, found: Found[]): Error {
  return new Error(`Cannot use the components file:\n${linesOf(path, text, found).join("\n")}`);
}

function linesOf(path: string, text: string, found: Found[]): string[] {
  return found
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

/** One missing comma makes many mistakes: of those the first is told, and those on further lines but for the end's. */
function isNoConsequence(text: string): (mistake: ParseError, i: number, all: ParseError[]) => boolean {
  return ({ error, offset }, i, all) => {
    const before = all[i - 1];
    if (!before) return true;
    const atEnd = printParseErrorCode(error) === "EndOfFileExpected";
    return !atEnd && placeOf(text, offset).line !== placeOf(text, before.offset).line;
  };
}

/** What the parser's code means, for someone who writes the file: "CommaExpected" is "not JSON: a comma expected". */
function wrongJson(code: string): string {
  const words = code.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).trim();
  return `not JSON: ${words}`;
}

/** Names that one object has more than once, of which JSON itself would keep the last and say nothing. */
function twice({ type, children = [] }: Node): Found[] {
  const found = children.flatMap(twice);
  if (type !== "object") return found;
  const seen = new Set<unknown>();
  for (const { children: [name] = [] } of children) {
    if (!name) continue;
    if (seen.has(name.value)) {
      found.push({ offset: name.offset, message: `${JSON.stringify(name.value)} is there twice` });
    }
    seen.add(name.value);
  }
  return found;
}

/** Unlike JSON.parse() on what an attacker wrote, no name can mean anything but itself. */
function dataOf({ type, value, children = [] }: Node): unknown {
  if (type === "array") return children.map(dataOf);
  if (type !== "object") return value;
  return Object.fromEntries(
    children.map(({ children: [name, held] = [] }) => [name?.value, held && dataOf(held)]),
  );
}

/** Where the problem stands; for something that is missing, the object that lacks it. */
function offsetOf(tree: Node, { path, wrong }: ConfigProblem): number {
  for (let length = path.length; length > 0; length--) {
    const node = findNodeAtLocation(tree, path.slice(0, length));
    if (!node) continue;
    const name = wrong === "name" && length === path.length ? node.parent?.children?.[0] : undefined;
    return (name ?? node).offset;
  }
  return tree.offset;
}
