import { type Config, configJsonSchema, parseConfig } from "../server/index.js";
import { isComponentKind, isStoredKind } from "../server/primitives.js";
import { parseCommandLine, UsageError, unknownName } from "./command-line.js";
import { CONFIG_FILE, readConfigFile } from "./config-file.js";
import { readTls, tlsPathsOf } from "./tls-files.js";

/** `fairlead config`: commands on the components file that need no server. */
export async function configCommand([command, ...args]: string[]): Promise<number> {
  switch (command) {
    case "check":
      return check(args);
    case "schema":
      parseCommandLine(args, {});
      process.stdout.write(`${JSON.stringify(configJsonSchema(), undefined, 2)}\n`);
      return 0;
    case undefined:
      throw new UsageError("config needs a subcommand: check or schema");
    default:
      throw unknownName("subcommand", command, ["check", "schema"]);
  }
}

async function check(args: string[]): Promise<number> {
  const { options, positionals } = parseCommandLine(
    args,
    { "tls-key": { type: "string" }, "tls-cert": { type: "string" } },
    1,
  );
  const [path = CONFIG_FILE] = positionals;
  const tls = tlsPathsOf(options["tls-key"], options["tls-cert"]);
  if (tls) await readTls(tls);
  const { config, warnings } = await readConfigFile(path);
  process.stdout.write(`${path} is valid\n\n${table(config)}`);
  if (warnings.length > 0) process.stdout.write(`\nwarnings\n${warnings.join("\n")}\n`);
  return 0;
}

function table(config: Config): string {
  const rows = [["kind", "name", "engine", "settings"]];
  // In the order of the file's schema.
  for (const kind of Object.keys(config).filter(isComponentKind)) {
    for (const [name, { engine = "the server's", ...settings }] of Object.entries<Settings>(config[kind])) {
      rows.push([kind, name, isStoredKind(kind) ? engine : "", settingsText(settings)]);
    }
  }
  const defaults = parseConfig();
  for (const group of ["gossip", "limits"] as const)
    rows.push(...changedSettings(group, config[group], defaults[group]));
  for (const name of Object.keys(defaults.engines) as (keyof Config["engines"])[])
    rows.push(...changedSettings("engines", config.engines[name], defaults.engines[name], name));
  const { tokens, jwt, roles, anonymous } = config.access;
  const access = {
    tokens: tokens?.length ?? 0,
    jwt: jwt?.issuer,
    roles: Object.keys(roles).join(" "),
    anonymous,
  };
  rows.push(
    ...changedSettings("access", access, { tokens: 0, jwt: undefined, roles: "", anonymous: undefined }),
  );
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)) + 2);
  const line = (row: string[]) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("");
  return rows.map((row) => `${line(row).trimEnd()}\n`).join("");
}

type Settings = { engine?: string | undefined } & Record<string, unknown>;

/** The settings that differ from the defaults. */
function changedSettings(
  kind: string,
  now: Record<string, unknown>,
  defaults: Record<string, unknown>,
  engine = "",
): string[][] {
  const names = Object.keys(now).filter((name) => now[name] !== defaults[name]);
  return names.map((name) => [kind, name, engine, String(now[name])]);
}

/** The settings on one line. Values of secrets are only counted. */
function settingsText({ values, ...settings }: Record<string, unknown>): string {
  const parts = Object.entries(settings).map(([name, value]) => `${name}: ${text(value)}`);
  if (values) parts.push(`values: ${Object.keys(values).length}`);
  return parts.join(", ");
}

function text(value: unknown): string {
  if (typeof value !== "object") return String(value);
  return JSON.stringify(value, (_, part) => (typeof part === "bigint" ? Number(part) : part));
}
