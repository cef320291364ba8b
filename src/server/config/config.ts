import { z } from "zod";
import { access, credential, ONE_CREDENTIAL, oneCredential, withoutTokens } from "../access/settings.js";
import { corsSettings } from "../http/cors.js";
import { isComponentKind } from "../primitives.js";
import { componentTables } from "./component-settings.js";
import { engineSettings } from "./engine-bounds.js";
import { milliseconds, nonEmptyText, serverUrl } from "./fields.js";
import { hostsSettings } from "./hosts.js";
import { limitSettings } from "./limits.js";
import { ConfigError, type ConfigProblem, explainIssue, problem, problemsOf } from "./problems.js";

const gossipPeer = z
  .strictObject({ url: serverUrl.describe("Its URL."), ...credential })
  .refine(oneCredential, ONE_CREDENTIAL);

/** The list of other servers, each at most once. */
const gossipPeers = z.array(gossipPeer).superRefine((peers, { addIssue }) => {
  const urls = peers.map(({ url }) => url);
  for (const [i, url] of urls.entries()) {
    const first = urls.indexOf(url);
    if (first === i) continue;
    addIssue({
      code: "custom",
      path: [i, "url"],
      message: `must be another one than that of peers[${first}]`,
    });
  }
});

const gossip = z.strictObject({
  memberGraceMs: milliseconds
    .default(3000)
    .describe("How long a member may be disconnected before its ephemeral entries are removed."),
  maxAheadMs: milliseconds
    .default(60_000)
    .describe(
      "How far the clock of a member may be ahead of the server's. Entries that are further ahead are refused.",
    ),
  peers: gossipPeers
    .default([])
    .describe(
      "Other servers, with engines of their own, that synchronize gossip maps with this one. " +
        "Servers on one clustered engine need no list. The server's own URL may be among them.",
    ),
  flushMs: milliseconds.default(50).describe("How long a change waits for others before it is relayed."),
  antiEntropyMs: milliseconds
    .default(1000)
    .describe("How often a map is compared with one of its members, in turn, while there are changes."),
  idleMs: milliseconds
    .default(30_000)
    .describe("How often a map is compared with a member while nothing changes."),
  tombstoneMs: milliseconds
    .default(24 * 3_600_000)
    .describe(
      "How long a removed key is remembered at least. A member that was away for longer starts afresh.",
    ),
});

/** The schema of the components file. Everything has a default. */
export const configSchema = z.strictObject({
  $schema: z.string().optional().describe("The URL or path of this schema, for editors."),
  appId: nonEmptyText
    .max(255, "must be at most 255 characters")
    .default("fairlead")
    .describe("This runtime's own app id: the group of its subscriptions if they name none."),
  ...componentTables,
  gossip: gossip.default(gossip.parse({})).describe("How gossip maps are synchronized."),
  engines: engineSettings,
  hosts: hostsSettings,
  cors: corsSettings.default(corsSettings.parse({})),
  access: access
    .default(access.parse({}))
    .describe("Who may call, and what. Without tokens, jwt and anonymous everyone may do everything."),
  limits: limitSettings.default(limitSettings.parse({})).describe("What clients can make grow, and how far."),
});

/** A checked configuration, with every default filled in. */
export interface Config extends z.output<typeof configSchema> {}

/** A configuration as it is written. */
export interface ConfigInput extends z.input<typeof configSchema> {}

export type Limits = Config["limits"];

/** How a configuration is checked. */
export interface ParseOptions {
  /** The names of engines that components may name. Default: any. */
  engines?: readonly string[];
  /** The names of engines that elections of maps may name. Default: any. */
  electionEngines?: readonly string[];
}

/**
 * Checks a configuration and fills in its defaults.
 *
 * @throws ConfigError with everything that is wrong: each place, and what would be right.
 *
 * @example
 * ```ts
 * import { parseConfig } from "fairlead/server";
 *
 * const { lock, limits } = parseConfig({ lock: { default: {}, jobs: {} }, limits: { locks: 500 } });
 * console.log(Object.keys(lock), limits.locks); // [ 'default', 'jobs' ] 500
 * ```
 */
export function parseConfig(input: unknown = {}, { engines, electionEngines }: ParseOptions = {}): Config {
  const { success, data, error } = configSchema.safeParse(input, { error: explainIssue });
  const problems = success ? [] : problemsOf(error.issues, configSchema, input);
  if (engines) problems.push(...engineProblems(input, engines));
  if (electionEngines) problems.push(...electionProblems(input, electionEngines));
  if (!success || problems.length > 0) throw new ConfigError(problems);
  return { ...data, access: withoutTokens(data.access) };
}

/** The components that name an engine that is none of `engines`. */
function engineProblems(input: unknown, engines: readonly string[]): ConfigProblem[] {
  const names = engines.map((name) => JSON.stringify(name)).join(" or ");
  const why =
    engines.length === 1 ? `must be ${names}, the engine that this server was given` : `must be ${names}`;
  const tables = Object.entries<unknown>(Object(input)).filter(([kind]) => isComponentKind(kind));
  return tables.flatMap(([kind, table]) =>
    Object.entries<unknown>(Object(table)).flatMap(([name, component]) => {
      const { engine } = Object(component) as { engine?: unknown };
      if (typeof engine !== "string" || engine === "" || engines.includes(engine)) return [];
      return [problem([kind, name, "engine"], "value", why, engine)];
    }),
  );
}

/** The groups of maps whose election names an engine that is none of `engines`. */
function electionProblems(input: unknown, engines: readonly string[]): ConfigProblem[] {
  const names = engines.map((name) => JSON.stringify(name)).join(" or ");
  const why =
    engines.length > 0
      ? `must be ${names}, the engine that this server was given for elections`
      : "this server was given no engine for elections: fairlead serve --election, or createServer({ electionEngine })";
  const { maps } = Object(input) as { maps?: unknown };
  return Object.entries<unknown>(Object(maps)).flatMap(([name, group]) => {
    const { engine } = Object((Object(group) as { election?: unknown }).election) as { engine?: unknown };
    if (typeof engine !== "string" || engine === "" || engines.includes(engine)) return [];
    return [problem(["maps", name, "election", "engine"], "value", why, engine)];
  });
}
