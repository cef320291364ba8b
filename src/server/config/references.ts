import { token } from "../access/settings.js";
import type { Platform } from "../context.js";
import type { Config } from "./config.js";
import { type ConfigProblem, problem } from "./problems.js";
import { secretsIn } from "./secrets-file.js";

/** Environment variables and files that a configuration refers to and that cannot be used. */
export interface MissingReferences {
  /** Those without which the server does not start, or cannot call another one. */
  problems: ConfigProblem[];
  /** Those whose absence a running server reports to the caller that asks for them. */
  warnings: ConfigProblem[];
}

/**
 * Looks up every environment variable and file that `config` refers to: tokens, secrets. It reports by the fields that
 * name them, and never shows what they hold.
 */
export async function checkReferences(
  config: Config,
  { env, readFile }: Pick<Platform, "env" | "readFile">,
): Promise<MissingReferences> {
  const found: MissingReferences = { problems: [], warnings: [] };
  const tokens: [path: ConfigProblem["path"], name: string | undefined][] = [
    ...(config.access.tokens ?? []).map(({ tokenEnv }, i): [ConfigProblem["path"], string | undefined] => [
      ["access", "tokens", i, "tokenEnv"],
      tokenEnv,
    ]),
    ...(["apps", "maps"] as const).flatMap((kind) =>
      Object.entries(config[kind]).map(
        ([name, { tokenEnv }]): [ConfigProblem["path"], string | undefined] => [
          [kind, name, "tokenEnv"],
          tokenEnv,
        ],
      ),
    ),
  ];
  for (const [path, name] of tokens) {
    if (name === undefined) continue;
    const why = faultOfToken(env[name]);
    if (why) found.problems.push(problem(path, "value", `this environment variable ${why}`, name));
  }
  for (const [name, store] of Object.entries(config.secrets)) {
    if (store.type === "file") {
      const why = await faultOfSecretFile(store.path, readFile);
      if (why) found.problems.push(problem(["secrets", name, "path"], "value", why, store.path));
    }
    if (store.type !== "env") continue;
    for (const [i, allowed] of store.allow.entries()) {
      if (allowed.endsWith("*") || Object.hasOwn(env, allowed)) continue;
      const why = "this environment variable is not set";
      found.warnings.push(problem(["secrets", name, "allow", i], "value", why, allowed));
    }
  }
  return found;
}

function faultOfToken(value: string | undefined): string | undefined {
  if (value === undefined) return "is not set";
  return token.safeParse(value).error?.issues[0]?.message;
}

async function faultOfSecretFile(path: string, readFile: Platform["readFile"]): Promise<string | undefined> {
  try {
    return secretsIn(await readFile(path)) ? undefined : "this file is not a JSON object";
  } catch (error) {
    return WHY_UNREADABLE[String((error as { code?: unknown }).code)] ?? "this file cannot be read";
  }
}

const WHY_UNREADABLE: Record<string, string> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EACCES: "this process may not read this file",
  EPERM: "this process may not read this file",
  EISDIR: "is a folder, not a file",
};
