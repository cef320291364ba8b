import { z } from "zod";

const count = z.coerce.number("must be a number").int("must be a whole number").positive("must be above 0");
const milliseconds = z.coerce.number("must be a number of milliseconds").positive("must be above 0");
const url = z
  .url({ protocol: /^https?$/, error: "must be an http or https URL" })
  .refine((text) => !URL.canParse(text) || new URL(text).username + new URL(text).password === "", {
    error: "must not contain a user or a password",
  });
const named = <T extends z.ZodType>(kind: T) => z.record(z.string().min(1).max(255), kind);

/** A store that has no settings of its own. */
const store = z.strictObject({});

const sequencer = z.strictObject({
  /** For each key the number that all its ids are greater than. */
  biggerThan: z
    .record(z.string(), z.coerce.bigint("must be a whole number").nonnegative("must not be below 0"), {
      error: "must be an object of keys and numbers",
    })
    .default({}),
  /** How many ids a server reserves at a time for WEAK requests. */
  segment: count.max(1_000_000, "must be at most 1000000").default(1000),
});

const pubsub = z.strictObject({
  /** How often an event is delivered to a group before it goes to the dead letter topic, or is dropped. */
  maxDeliveries: count.default(16),
  /** The wait before the first redelivery; it doubles with each further one up to `retryMaxMs`. */
  retryMinMs: milliseconds.default(100),
  retryMaxMs: milliseconds.default(30_000),
});

const secrets = z.discriminatedUnion("type", [
  /** Environment variables; `*` at the end of a name allows all that begin so. */
  z.strictObject({ type: z.literal("env"), allow: z.array(z.string().min(1)) }),
  /** A JSON file; nested objects are flattened with `:` between the names. */
  z.strictObject({ type: z.literal("file"), path: z.string().min(1) }),
  /** Values given in code, for tests and demos. */
  z.strictObject({ type: z.literal("values"), values: z.record(z.string(), z.string()) }),
]);

const binding = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("echo") }),
  z.strictObject({ type: z.literal("http"), url, timeoutMs: milliseconds.default(10_000) }),
]);

const log = z.strictObject({
  maxAgeMs: milliseconds.optional(),
  maxBytes: count.optional(),
  maxRecords: count.optional(),
});

/**
 * Who holds the partitions of the maps of one protocol group, called "<namespace>/<name>". A group that is not named
 * is this server's own, without backups.
 */
const mapGroup = z.strictObject({
  /** The address of the primary; left out where it is this server. */
  primary: url.optional(),
  /** The addresses of the servers that keep a copy. Only the primary's own list counts. */
  backups: z.array(url).default([]),
  /** The primary's term: each new primary needs a higher one than the last. At most 2^31. */
  term: z.coerce
    .bigint()
    .positive()
    .max(2n ** 31n)
    .default(1n),
  /** How long a backup may take to answer before it counts as out of sync and no write waits for it. */
  ackTimeoutMs: milliseconds.default(2000),
});

/** How gossip maps are kept alike. */
const gossip = z.strictObject({
  /** How long a change waits for others before it is relayed. */
  flushMs: milliseconds.default(50),
  /** How often a map is compared with one of its members, the next one each time, while there are changes. */
  antiEntropyMs: milliseconds.default(1000),
  /** How often a member is compared with while nothing changes. */
  idleMs: milliseconds.default(30_000),
  /** How long a removed key is remembered at least: a member that was away for longer may bring it back. */
  tombstoneMs: milliseconds.default(24 * 3_600_000),
});

/** What a client can grow, and how far. */
const limits = z.strictObject({
  keyBytes: count.default(1024),
  valueBytes: count.default(4 * 1024 ** 2),
  messageBytes: count.default(8 * 1024 ** 2),
  /** Items of one request: states, keys, operations, configuration items. */
  batchItems: count.default(10_000),
  /** What is kept beside one file: its metadata's keys and values, with 8 bytes for each pair. It travels in a header. */
  fileMetadataBytes: count.default(4096),
  /** The sequences of which a server has reserved ids at hand; one too many costs another the rest of its ids. */
  sequences: count.default(10_000),
  /** The logs that clients may create by naming them, beside `default` and those that the configuration names. */
  logs: count.default(10_000),
  /** The keys that one SubscribeConfiguration call may follow, all its requests together. */
  subscriptionKeys: count.default(10_000),
  /** The groups, with their labels, apps and stores, that one SubscribeConfiguration call may follow keys of. */
  subscriptionGroups: count.default(100),
  /** The map partitions that clients may create by naming them. */
  mapPartitions: count.default(10_000),
  /** The gossip maps that clients may create by naming them. */
  gossipMaps: count.default(1000),
  /** The entries of one gossip map, tombstones included. */
  gossipEntries: count.default(100_000),
  /** The bytes of all keys and values of one gossip map: every member keeps them in memory. */
  gossipBytes: count.default(256 * 1024 ** 2),
  /** The events on their way to one subscription without an answer. */
  inFlight: count.default(32),
});

/** The components file: what the server has, by kind and name. Everything has a default. */
export const configSchema = z.strictObject({
  $schema: z.string().optional(),
  /** This runtime's own app id: the group of its subscriptions where they name none. */
  appId: z.string().default("fairlead"),
  state: named(store).default({ default: {} }),
  lock: named(store).default({ default: {} }),
  sequencer: named(sequencer).default({ default: sequencer.parse({}) }),
  pubsub: named(pubsub).default({ default: pubsub.parse({}) }),
  files: named(store).default({ default: {} }),
  configuration: named(store).default({ default: {} }),
  secrets: named(secrets).default({ default: { type: "env", allow: ["FAIRLEAD_SECRET_*"] } }),
  bindings: named(binding).default({ echo: { type: "echo" } }),
  /** What InvokeService may reach: the base URL of each app. */
  services: named(z.strictObject({ url })).default({}),
  /** The apps that serve AppCallback, and how they are called. */
  apps: named(
    z.strictObject({
      url,
      protocol: z.enum(["grpc", "grpc-web", "connect"]).default("grpc"),
      /** How often it is asked for its subscriptions again, to notice that it left or came back with others. */
      askEveryMs: milliseconds.default(15_000),
      /** How long it may take to handle one event, before that counts as an error. */
      timeoutMs: milliseconds.default(60_000),
    }),
  ).default({}),
  hello: named(z.strictObject({ greeting: z.string().default("Hello") })).default({
    helloworld: { greeting: "Hello" },
  }),
  /** How much is kept of the logs that are named here; the others are kept whole. */
  logs: named(log).default({}),
  maps: named(mapGroup).default({}),
  gossip: gossip.default(gossip.parse({})),
  limits: limits.default(limits.parse({})),
});

/** A checked configuration, with every default filled in. */
export type Config = z.output<typeof configSchema>;

/** A configuration as it is written. */
export type ConfigInput = z.input<typeof configSchema>;

export type Limits = Config["limits"];

/** Checks `input`; the error names each place that is wrong and what would be right. */
export function parseConfig(input: unknown = {}): Config {
  const result = configSchema.safeParse(input);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join(".") || "file"}: ${message}`);
  throw new TypeError(`Cannot use this configuration: ${problems.join("; ")}`);
}
