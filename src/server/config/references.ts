import { token } from "../access/settings.js";
import type { Platform } from "../context.js";
import type { Config } from "./config.js";
import { type ConfigProblem, problem } from "./problems.js";
import { secretsIn } from "./secrets-file.js";

/** The environment variables and files that a configuration refers to and that are missing or wrong. */
export interface MissingReferences {
  /** Without these the server does not start, or cannot call another one. */
  problems: ConfigProblem[];
  /** Without these a running server fails the calls that need them. */
  warnings: ConfigProblem[];
}

/**
 * Looks up every environment variable and file that `config` refers to: tokens and secrets. Problems name the fields of
 * the configuration, and never quote a token or a secret.
 */
export async function checkReferences(
  config: Config,
  { env, readFile }: Pick<Platform, "env" | "readFile">,
): Promise<MissingReferences> {
  const problems = tokenReferences(config).flatMap(({ path, name }) => {
    const why = tokenFault(env[name]);
    return why === undefined ? [] : [problem(path, "value", `this environment variable ${why}`, name)];
  });
  const warnings: ConfigProblem[] = [];
  for (const [name, store] of Object.entries(config.secrets)) {
    if (store.type === "file") {
      const why = await secretsFileFault(store.path, readFile);
      if (why) problems.push(problem(["secrets", name, "path"], "value", why, store.path));
    }
    if (store.type !== "env") continue;
    for (const [i, allowed] of store.allow.entries()) {
      if (allowed.endsWith("*") || Object.hasOwn(env, allowed)) continue;
      const why = "this environment variable is not set";
      warnings.push(problem(["secrets", name, "allow", i], "value", why, allowed));
    }
  }
  return { problems, warnings };
}

interface TokenReference {
  /** The field that names the variable. */
  path: ConfigProblem["path"];
  /** The name of the environment variable. */
  name: string;
}

/** The environment variables that have tokens: those of callers, and those that this server sends. */
function tokenReferences({ access, apps, maps, gossip }: Config): TokenReference[] {
  const reference = (path: ConfigProblem["path"], { tokenEnv }: { tokenEnv?: string | undefined }) =>
    tokenEnv === undefined ? [] : [{ path: [...path, "tokenEnv"], name: tokenEnv }];
  return [
    ...(access.tokens ?? []).flatMap((token, i) => reference(["access", "tokens", i], token)),
    ...Object.entries(apps).flatMap(([name, app]) => reference(["apps", name], app)),
    ...Object.entries(maps).flatMap(([name, group]) => reference(["maps", name], group)),
    ...gossip.peers.flatMap((peer, i) => reference(["gossip", "peers", i], peer)),
  ];
}

function tokenFault(value: string | undefined): string | undefined {
  if (value === undefined) return "is not set";
  return token.safeParse(value).error?.issues[0]?.message;
}

async function secretsFileFault(path: string, readFile: Platform["readFile"]): Promise<string | undefined> {
  try {
    return secretsIn(await readFile(path)) ? undefined : "this file is not a JSON object";
  } catch (error) {
    return UNREADABLE[String((error as { code?: unknown }).code)] ?? "this file cannot be read";
  }
}

/** Messages by the code of Node's error. */
const UNREADABLE: Record<string, string> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EACCES: "this process may not read this file",
  EPERM: "this process may not read this file",
  EISDIR: "is a folder, not a file",
};
