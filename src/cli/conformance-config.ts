import { readFile } from "node:fs/promises";
import { type ParseError, parse, printParseErrorCode } from "jsonc-parser";
import { z } from "zod";
import { CONFORMANCE_STORES, type Stores } from "../conformance/index.js";
import { didYouMean } from "../lib/did-you-mean.js";
import { quote } from "../lib/quote.js";
import { CONFIGURED_STORES } from "../server/primitives.js";
import { UsageError } from "./command-line.js";
import { reasonOf } from "./error-text.js";

const name = z.string().min(1);
const count = z.number().int().positive();
const strict = z.strictObject;
const namesOf = (primitives: readonly string[]) => Object.fromEntries(primitives.map((each) => [each, name]));

/** The file of `--config`: the stores of the server under test, and what the run itself provides. */
const schema = strict({
  stores: strict({
    ...namesOf(CONFIGURED_STORES),
    hello: strict({ name, greeting: z.string() }),
    spareHello: strict({ name, greeting: z.string() }),
    others: strict(namesOf(Object.keys(CONFORMANCE_STORES.others ?? {}))),
    quickPubsub: strict({ name, maxDeliveries: count, retryMinMs: count, retryMaxMs: count }),
    biggerThan: strict({ key: name, value: z.string().regex(/^\d+$/, "must be a decimal number") }),
    echo: name,
    mirror: strict({ service: name, binding: name }),
    secret: strict({ store: name, key: name, value: z.string() }),
    backupGroup: strict({ namespace: z.string(), name, primary: z.string() }),
    ledGroup: strict({ namespace: z.string(), name, term: count }),
    shortLog: strict({ name, maxRecords: count }),
  })
    .partial()
    .optional(),
  /** The port on which the run serves the mirror. Default: it does not serve one. */
  mirrorPort: z.number().int().min(1).max(65_535).optional(),
  /** Whether apps may dial in through the tunnel. Default: true. */
  dialIn: z.boolean().optional(),
});

export interface ConformanceConfig {
  stores?: Partial<Stores>;
  mirrorPort?: number | undefined;
  dialIn?: boolean | undefined;
}

/** Reads the file of `--config`, JSON with comments. Errors name the position of the mistake. */
export async function readConformanceConfig(path: string): Promise<ConformanceConfig> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new UsageError(`Cannot read the configuration ${quote(path)}: ${reasonOf(error)}`);
  });
  const mistakes: ParseError[] = [];
  const input: unknown = parse(text, mistakes, { allowTrailingComma: true });
  const [mistake] = mistakes;
  if (mistake) {
    const before = text.slice(0, mistake.offset).split("\n");
    const place = `${path}:${before.length}:${(before.at(-1) ?? "").length + 1}`;
    throw new UsageError(`${place}: not JSON: ${printParseErrorCode(mistake.error)}`);
  }
  const { data, error } = schema.safeParse(input);
  if (data) return data as ConformanceConfig;
  const messages = error.issues.map((issue) => {
    return `${path}: ${issue.path.join(".") || "the file"}: ${issue.message}${suggestion(issue)}`;
  });
  throw new UsageError(messages.join("\n"));
}

/** A suggestion for an unknown name. */
function suggestion(issue: z.core.$ZodIssue): string {
  if (issue.code !== "unrecognized_keys") return "";
  const known = [...Object.keys(schema.shape), ...Object.keys(schema.shape.stores.unwrap().shape)];
  const meant = issue.keys.map((key) => didYouMean(key, known)).filter((name) => name !== undefined);
  return meant.length > 0 ? `, did you mean ${meant.map((name) => JSON.stringify(name)).join(", ")}?` : "";
}
