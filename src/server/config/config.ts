import { z } from "zod";
import {
  access,
  credential,
  httpUrl,
  ONE_CREDENTIAL,
  oneCredential,
  withoutTokens,
} from "../access/settings.js";
import { DISK_BOUNDS, MEMORY_BOUNDS } from "../engines/shared/bounds.js";
import { corsSettings } from "../http/cors.js";
import { hostsSettings } from "./hosts.js";
import { ConfigError, explainIssue, problem, problemsOf } from "./problems.js";

/** A whole number above 0. */
const count = (most = Number.MAX_SAFE_INTEGER) =>
  z
    .number("must be a number")
    .int("must be a whole number")
    .positive("must be above 0")
    .max(most, `must be at most ${most}`);
const milliseconds = z.number("must be a number of milliseconds").positive("must be above 0");
const percent = (usual: number) => count(100).default(usual);
const wholeNumber = (least: bigint, most: bigint, asBigint = fromNumber) =>
  z.preprocess(
    asBigint,
    z
      .bigint("must be a whole number")
      .min(least, least === 1n ? "must be above 0" : `must not be below ${least}`)
      .max(most, `must be at most ${most}`),
  );
const url = httpUrl.refine((url) => !url.includes("#"), "must not have a fragment (#)");
/** The base URL of a server that Connect calls. */
const serverUrl = url.refine((url) => !url.includes("?"), "must not have a query (?)");
const text = z.string().min(1, "must not be empty");
const named = <T extends z.ZodType>(kind: T) =>
  z.record(
    z
      .string()
      .min(1)
      .max(255, "must be at most 255 characters")
      .regex(/^\P{Cc}*$/u),
    kind,
  );
const kindOf = <T extends readonly [z.core.$ZodTypeDiscriminable, ...z.core.$ZodTypeDiscriminable[]]>(
  types: string,
  options: T,
) =>
  z.discriminatedUnion("type", options, {
    error: (issue) => (issue.code === "invalid_union" ? `must be ${types}` : undefined),
  });

/** What keeps the component's data. The one place that a further engine's name is added to. */
const held = {
  engine: z
    .enum(["memory", "disk"], 'must be "memory" or "disk"')
    .optional()
    .describe("Which engine keeps its data: the one that the server runs on, which is also the default."),
};

const store = z.strictObject(held);

const sequencer = z.strictObject({
  biggerThan: z
    .record(z.string(), wholeNumber(0n, 2n ** 63n - 1n, fromNumberOrDigits), {
      error: "must be an object of keys and numbers",
    })
    .default({})
    .describe("For each key the number that all its ids are greater than."),
  segment: count(1_000_000)
    .default(1000)
    .describe("How many ids a server reserves at a time for WEAK requests."),
  ...held,
});

const pubsub = z.strictObject({
  maxDeliveries: count()
    .default(16)
    .describe(
      "How often an event is delivered to a group before it goes to the dead letter topic, or is dropped.",
    ),
  retryMinMs: milliseconds
    .default(100)
    .describe("The wait before the first redelivery; it doubles with each further one up to retryMaxMs."),
  retryMaxMs: milliseconds.default(30_000).describe("The longest wait before a redelivery."),
  ...held,
});

const secrets = kindOf('"env", "file" or "values"', [
  z.strictObject({
    type: z.literal("env").describe("Environment variables."),
    allow: z
      .array(text.regex(/^[^*=\0]*\*?$/, "must be the name of a variable, with * at its end at most"))
      .describe("The variables that may be read; * at the end of a name allows all that begin so."),
  }),
  z.strictObject({
    type: z.literal("file").describe("A JSON file; nested objects are flattened with : between the names."),
    path: text.describe("Where it is, from the folder that the server runs in."),
  }),
  z.strictObject({
    type: z.literal("values").describe("Values given here, for tests and demos."),
    values: z.record(z.string(), z.string()).describe("The secrets, by name."),
  }),
]);

const binding = kindOf('"echo" or "http"', [
  z.strictObject({ type: z.literal("echo").describe("Answers with what it was sent.") }),
  z.strictObject({
    type: z.literal("http").describe("Sends an HTTP request for each call."),
    url: url.describe("Where the requests go; a call's path is put behind it."),
    timeoutMs: milliseconds.default(10_000).describe("How long an answer may take."),
  }),
]);

const log = z.strictObject({
  maxAgeMs: milliseconds.optional().describe("How long a record is kept. Left out: for ever."),
  maxBytes: count()
    .optional()
    .describe("The bytes that its records may take, 32 more for each; the oldest go first. Left out: any."),
  maxRecords: count().optional().describe("How many records are kept; the oldest go first. Left out: all."),
  ...held,
});

const mapGroup = z
  .strictObject({
    primary: serverUrl.optional().describe("The address of the primary; left out where it is this server."),
    backups: z
      .array(serverUrl)
      .default([])
      .describe("The addresses of the servers that keep a copy. Only the primary's own list counts."),
    term: wholeNumber(1n, 2n ** 31n)
      .default(1n)
      .describe("The primary's term: each new primary needs a higher one than the last."),
    ackTimeoutMs: milliseconds
      .default(2000)
      .describe("How long a backup may take to answer before it is out of sync and no write waits for it."),
    ...credential,
    ...held,
  })
  .refine(oneCredential, ONE_CREDENTIAL);

const app = z
  .strictObject({
    url: serverUrl.describe("Where it serves AppCallback."),
    protocol: z
      .enum(["grpc", "grpc-web", "connect"], 'must be "grpc", "grpc-web" or "connect"')
      .default("grpc")
      .describe("How it is called."),
    askEveryMs: milliseconds
      .default(15_000)
      .describe(
        "How often it is asked for its subscriptions again, to notice that it left or came back with others.",
      ),
    timeoutMs: milliseconds
      .default(60_000)
      .describe("How long it may take to handle one event, before that counts as an error."),
    ...credential,
  })
  .refine(oneCredential, ONE_CREDENTIAL);

const gossip = z.strictObject({
  flushMs: milliseconds.default(50).describe("How long a change waits for others before it is relayed."),
  antiEntropyMs: milliseconds
    .default(1000)
    .describe(
      "How often a map is compared with one of its members, the next one each time, while there are changes.",
    ),
  idleMs: milliseconds.default(30_000).describe("How often a member is compared with while nothing changes."),
  tombstoneMs: milliseconds
    .default(24 * 3_600_000)
    .describe(
      "How long a removed key is remembered at least: a member that was away for longer may bring it back.",
    ),
});

/** How long both engines keep groups of consumers. */
const groupLifetimes = {
  groupIdleMs: milliseconds
    .default(DISK_BOUNDS.groupIdleMs)
    .describe(
      "How long a group without a consumer is kept where no events wait for it. Time while the server is down does not count.",
    ),
  groupBacklogIdleMs: milliseconds
    .optional()
    .describe(
      "How long a group without a consumer is kept although events wait for it: they are dropped then, which is logged. For ever unless set.",
    ),
};

/** The bounds of the memory engine: MemoryEngineOptions, as a file has them. */
const memory = z.strictObject({
  maxKeyBytes: count()
    .default(MEMORY_BOUNDS.maxKeyBytes)
    .describe("The bytes that all keys and their values may take, 256 more for each."),
  maxWatchBacklog: count()
    .default(MEMORY_BOUNDS.maxWatchBacklog)
    .describe(
      "The keys whose changes may wait for one watcher that does not read; past it, its watch fails.",
    ),
  maxLogBytes: count()
    .default(MEMORY_BOUNDS.maxLogBytes)
    .describe(
      "The bytes that the records of all logs may take, 32 more for each. What was acknowledged is never dropped to make room, but by a log's own retention: past this, appending fails.",
    ),
  maxBlobBytes: count()
    .default(MEMORY_BOUNDS.maxBlobBytes)
    .describe("The bytes that all files together may hold, those being written or read included."),
  maxBacklogBytes: count()
    .default(MEMORY_BOUNDS.maxBacklogBytes)
    .describe("The bytes of events that may wait for one group of a topic, 64 more for each."),
  maxTopicBytes: count()
    .default(MEMORY_BOUNDS.maxTopicBytes)
    .describe("The bytes of events that may wait for all groups of all topics together, 64 more for each."),
  maxTopics: count().default(MEMORY_BOUNDS.maxTopics).describe("The topics that have a consumer group."),
  maxGroups: count().default(MEMORY_BOUNDS.maxGroups).describe("The consumer groups of one topic."),
  ...groupLifetimes,
});

/** The bounds of the disk engine: DiskEngineOptions, as a file has them. */
const disk = z.strictObject({
  maxKeyBytes: count()
    .default(DISK_BOUNDS.maxKeyBytes)
    .describe("The bytes that all keys and their values may take, 32 more for each."),
  maxLogBytes: count()
    .default(DISK_BOUNDS.maxLogBytes)
    .describe(
      "The bytes that all logs may take on the disk. What was acknowledged is never dropped to make room, but by a log's own retention: past this, appending fails.",
    ),
  maxBlobBytes: count()
    .default(DISK_BOUNDS.maxBlobBytes)
    .describe("The bytes that all files together may hold, those being written included."),
  maxWatchBacklog: count()
    .default(DISK_BOUNDS.maxWatchBacklog)
    .describe(
      "The keys whose changes may wait for one watcher that does not read; past it, its watch fails.",
    ),
  maxBacklogBytes: count()
    .default(DISK_BOUNDS.maxBacklogBytes)
    .describe("The bytes of events that may wait for one group of a topic, 64 more for each."),
  maxTopicBytes: count()
    .default(DISK_BOUNDS.maxTopicBytes)
    .describe("The bytes of events that may wait for all groups of all topics together, 64 more for each."),
  maxTopics: count().default(DISK_BOUNDS.maxTopics).describe("The topics that have a consumer group."),
  maxGroups: count().default(DISK_BOUNDS.maxGroups).describe("The consumer groups of one topic."),
  ...groupLifetimes,
  memtableBytes: count()
    .default(DISK_BOUNDS.memtableBytes)
    .describe("The bytes in memory of what was written last; from there on they become a file of their own."),
  cacheBytes: count()
    .default(DISK_BOUNDS.cacheBytes)
    .describe("The bytes of the files of keys and values that are open at a time: at least the default."),
  segmentBytes: count()
    .default(DISK_BOUNDS.segmentBytes)
    .describe("The bytes of one file of a log: what retention gives back at a time."),
});

const limits = z.strictObject({
  keyBytes: count().default(1024).describe("The UTF-8 bytes of a key, a file's name or a lock's owner."),
  valueBytes: count()
    .default(4 * 1024 ** 2 - 16 * 1024)
    .describe(
      "The bytes of one value, event, record or secret with its metadata. The default leaves room for what stands around it in the 4 MiB that gRPC clients read by default.",
    ),
  messageBytes: count()
    .default(8 * 1024 ** 2)
    .describe("The bytes of one message, of which a stream has any number."),
  headerBytes: count(1024 ** 2)
    .default(32 * 1024)
    .describe("The bytes of one call's request headers, names and values, with 32 more for each."),
  batchItems: count()
    .default(10_000)
    .describe("Items of one request: states, keys, operations, configuration items."),
  connections: count().default(10_000).describe("The connections that are open at the same time."),
  connectionStreams: count(2 ** 30)
    .default(1000)
    .describe("The calls that are open on one connection at the same time."),
  streams: count().default(10_000).describe("The calls that are open at the same time, of all connections."),
  arrivingBytes: count()
    .default(256 * 1024 ** 2)
    .describe("The bytes that have arrived of messages that are not whole yet, of all calls together."),
  leavingBytes: count()
    .default(256 * 1024 ** 2)
    .describe(
      "The bytes of answers that their callers have no room for yet, of all calls together: above it no further call is taken.",
    ),
  connectionSharePercent: percent(50).describe(
    "How much of streams, arrivingBytes and leavingBytes one connection may take, but of the bytes always one message.",
  ),
  subjectSharePercent: percent(50).describe(
    "How much of streams, arrivingBytes and leavingBytes one subject may take, on all of its connections together.",
  ),
  anonymousSharePercent: percent(10).describe(
    "How much of streams, arrivingBytes and leavingBytes all calls together may take that need no credentials (health) or have none. As many may wait for their tokens to be checked.",
  ),
  connectionIdleMs: milliseconds
    .default(300_000)
    .describe("How long a connection without calls is kept, and a tunnel that nothing uses."),
  headersTimeoutMs: milliseconds
    .default(60_000)
    .describe(
      "How long the headers of a request may take. Over HTTP/2 also the first SETTINGS, and the answer to a PING of a client that sends other things meanwhile.",
    ),
  pingMs: milliseconds
    .default(10_000)
    .describe(
      "After how much silence a client is asked, by a PING, whether it is there: over HTTP/2 while it has calls open, and over the tunnel.",
    ),
  pingTimeoutMs: milliseconds
    .default(10_000)
    .describe("How long after that it may say nothing before its connection is cut and its calls end."),
  tcpKeepaliveMs: milliseconds
    .default(15_000)
    .describe("After how much silence TCP asks whether the other machine is there, for every connection."),
  stalledMs: milliseconds
    .default(60_000)
    .describe("For how long nothing of an answer may be taken by its caller, before it is given up."),
  fileMetadataBytes: count()
    .default(4096)
    .describe(
      "What is kept beside one file: its metadata's keys and values, with 8 bytes for each pair. It travels in a header.",
    ),
  locks: count()
    .default(100_000)
    .describe(
      "The resources that have a lock, or had one whose fence is still remembered: for seven days after the lease.",
    ),
  sequencerKeys: count().default(100_000).describe("The keys of sequencers that clients may create."),
  sequences: count()
    .default(10_000)
    .describe(
      "The sequences of which a server has reserved ids at hand; one too many costs another the rest of its ids.",
    ),
  logs: count()
    .default(10_000)
    .describe(
      'The logs that clients may create by naming them, beside "default" and those that the configuration names.',
    ),
  subscriptionKeys: count()
    .default(10_000)
    .describe("The keys that one SubscribeConfiguration call may follow, all its requests together."),
  subscriptionGroups: count()
    .default(100)
    .describe(
      "The groups, with their labels, apps and stores, that one SubscribeConfiguration call may follow keys of.",
    ),
  mapPartitions: count()
    .default(10_000)
    .describe("The map partitions that clients may create by naming them."),
  gossipMaps: count().default(1000).describe("The gossip maps that clients may create by naming them."),
  gossipEntries: count().default(100_000).describe("The entries of one gossip map, tombstones included."),
  gossipBytes: count()
    .default(256 * 1024 ** 2)
    .describe("The bytes of all keys and values of one gossip map: every member keeps them in memory."),
  apps: count()
    .default(10_000)
    .describe(
      "The apps that have dialled in and are remembered; past it, one that is away and has no events waiting is forgotten for another.",
    ),
  inFlight: count().default(32).describe("The events on their way to one subscription without an answer."),
});

/** The components file: what the server has, by kind and name. Everything has a default. */
export const configSchema = z.strictObject({
  $schema: z.string().optional().describe("Where editors find this schema."),
  appId: text
    .max(255, "must be at most 255 characters")
    .default("fairlead")
    .describe("This runtime's own app id: the group of its subscriptions where they name none."),
  state: named(store).default({ default: {} }).describe("The state stores, by name."),
  lock: named(store).default({ default: {} }).describe("The lock stores, by name."),
  sequencer: named(sequencer)
    .default({ default: sequencer.parse({}) })
    .describe("The sequencer stores, by name."),
  pubsub: named(pubsub)
    .default({ default: pubsub.parse({}) })
    .describe("The pubsubs, by name."),
  files: named(store).default({ default: {} }).describe("The file stores, by name."),
  configuration: named(store).default({ default: {} }).describe("The configuration stores, by name."),
  secrets: named(secrets)
    .default({ default: { type: "env", allow: ["FAIRLEAD_SECRET_*"] } })
    .describe("The secret stores, by name."),
  bindings: named(binding)
    .default({ echo: { type: "echo" } })
    .describe("What InvokeBinding may reach, by name."),
  services: named(z.strictObject({ url: url.describe("Its base URL.") }))
    .default({})
    .describe("What InvokeService may reach, by app id."),
  apps: named(app).default({}).describe("The apps that serve AppCallback, by app id."),
  hello: named(
    z.strictObject({ greeting: z.string().default("Hello").describe("What comes before the name.") }),
  )
    .default({ helloworld: { greeting: "Hello" } })
    .describe("The instances that SayHello may name."),
  logs: named(log)
    .default({})
    .describe("How much is kept of the logs that are named here; the others are kept whole."),
  maps: named(mapGroup)
    .default({})
    .describe(
      'Who holds the partitions of the maps of one protocol group, called "<namespace>/<name>". A group that is not named is this server\'s own, without backups.',
    ),
  gossip: gossip.default(gossip.parse({})).describe("How gossip maps are kept alike."),
  engines: z
    .strictObject({
      memory: memory.default(memory.parse({})).describe("This process's memory."),
      disk: disk.default(disk.parse({})).describe("A folder on this machine's disk."),
    })
    .default({ memory: memory.parse({}), disk: disk.parse({}) })
    .describe("The engines that keep the data, and their bounds."),
  hosts: hostsSettings,
  cors: corsSettings.default(corsSettings.parse({})),
  access: access
    .default(access.parse({}))
    .describe("Who may call, and what. Without tokens, jwt and anonymous everyone may do everything."),
  limits: limits.default(limits.parse({})).describe("What a client can grow, and how far."),
});

/** A checked configuration, with every default filled in. */
export interface Config extends z.output<typeof configSchema> {}

/** A configuration as it is written. */
export interface ConfigInput extends z.input<typeof configSchema> {}

export type Limits = Config["limits"];

/** Checks `input`; a ConfigError has each place that is wrong and what would be right. */
export function parseConfig(input: unknown = {}): Config {
  const result = configSchema.safeParse(input, { error: explainIssue });
  if (result.success) return { ...result.data, access: withoutTokens(result.data.access) };
  throw new ConfigError(problemsOf(result.error.issues, configSchema, input));
}

/** Refuses components that want another engine than the server has. */
export function checkEngines(config: Config, name: string): void {
  const why = `must be ${JSON.stringify(name)}, the engine that this server was given`;
  const problems = Object.entries(config).flatMap(([kind, components]) =>
    Object.entries<{ engine?: unknown }>(Object(components)).flatMap(([component, { engine }]) => {
      const path = [kind, component, "engine"];
      return engine === undefined || engine === name ? [] : [problem(path, "value", why, engine)];
    }),
  );
  if (problems.length > 0) throw new ConfigError(problems);
}

function fromNumber(value: unknown): unknown {
  return typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
}

/** Also takes digits: a JSON number cannot have more than 53 bits. */
function fromNumberOrDigits(value: unknown): unknown {
  return typeof value === "string" && /^-?\d+$/.test(value) ? BigInt(value) : fromNumber(value);
}
