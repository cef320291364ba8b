import { z } from "zod";
import { credential, ONE_CREDENTIAL, oneCredential } from "../access/settings.js";
import type { ComponentKind } from "../primitives.js";
import {
  count,
  fromNumberOrDigits,
  milliseconds,
  nonEmptyText,
  requestUrl,
  serverUrl,
  tableOf,
  typedUnion,
  wholeNumber,
} from "./fields.js";

/** The setting of every component whose data an engine keeps. */
const stored = {
  engine: nonEmptyText
    .optional()
    .describe("The name of the engine that keeps its data: the server's own, which is also the default."),
};

const store = z.strictObject(stored);

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
  ...stored,
});

const pubsub = z.strictObject({
  maxDeliveries: count()
    .default(16)
    .describe(
      "How often an event is delivered to a group before it goes to the dead letter topic, or is dropped.",
    ),
  retryMinMs: milliseconds
    .default(100)
    .describe("The wait before the first redelivery. Each further wait is twice as long, up to retryMaxMs."),
  retryMaxMs: milliseconds.default(30_000).describe("The longest wait before a redelivery."),
  ...stored,
});

const secretStore = typedUnion('"env", "file" or "values"', [
  z.strictObject({
    type: z.literal("env").describe("Environment variables."),
    allow: z
      .array(nonEmptyText.regex(/^[^*=\0]*\*?$/, "must be the name of a variable, with * at its end at most"))
      .describe("The variables that may be read. * at the end of a name allows all that begin so."),
  }),
  z.strictObject({
    type: z.literal("file").describe("A JSON file. Names in nested objects are joined by colons."),
    path: nonEmptyText.describe("Its path, from the folder that the server runs in."),
  }),
  z.strictObject({
    type: z.literal("values").describe("Values in the configuration itself, for tests and demos."),
    values: z.record(z.string(), z.string()).describe("The secrets, by name."),
  }),
]);

const binding = typedUnion('"echo" or "http"', [
  z.strictObject({ type: z.literal("echo").describe("Answers with what it was sent.") }),
  z.strictObject({
    type: z.literal("http").describe("Sends an HTTP request for each call."),
    url: requestUrl.describe("The URL of the requests. A call's path is appended to it."),
    timeoutMs: milliseconds.default(10_000).describe("How long an answer may take."),
  }),
]);

const service = z.strictObject({ url: requestUrl.describe("Its base URL.") });

const hello = z.strictObject({
  greeting: z.string().default("Hello").describe("The text before the name."),
});

const log = z.strictObject({
  maxAgeMs: milliseconds.optional().describe("How long a record is kept. Default: for ever."),
  maxBytes: count()
    .optional()
    .describe("The bytes of its records, plus 32 for each. The oldest are removed first. Default: no limit."),
  maxRecords: count()
    .optional()
    .describe("The number of its records. The oldest are removed first. Default: no limit."),
  ...stored,
});

const election = z.strictObject({
  engine: nonEmptyText.describe(
    "The name of the engine by which the servers elect: one that all servers of the group share.",
  ),
  url: serverUrl.describe("This server's own URL, at which clients and the other servers call it."),
  replicas: count(15).default(3).describe("How many servers keep each partition, the primary included."),
  leaseMs: milliseconds
    .min(100, "must be at least 100")
    .max(600_000, "must be at most 600000")
    .default(5000)
    .describe(
      "How long a server stays the primary without renewing its lease. Another one takes over after this time.",
    ),
  uncleanElection: z
    .boolean()
    .default(false)
    .describe(
      "Whether a server that is not in sync may become the primary if all that are in sync stay away: acknowledged writes may be lost.",
    ),
});

/** The settings of a group that an election replaces, and the values that they have if they are left out. */
const STATIC_SETTINGS = { primary: undefined, backups: 0, term: 1n } as const;

const mapGroup = z
  .strictObject({
    election: election
      .optional()
      .describe(
        "The servers of the group elect the primary of each partition. Default: primary, backups and term say who it is.",
      ),
    primary: serverUrl.optional().describe("The URL of the primary. Default: this server is the primary."),
    backups: z
      .array(serverUrl)
      .default([])
      .describe("The URLs of the servers that keep a copy. Only the primary's own list counts."),
    term: wholeNumber(1n, 2n ** 31n)
      .default(1n)
      .describe("The primary's term. Each new primary needs a higher one than the last."),
    ackTimeoutMs: milliseconds
      .default(2000)
      .describe(
        "How long a backup may take to answer. After that it is out of sync, and writes do not wait for it.",
      ),
    ...credential,
    ...stored,
  })
  .refine(oneCredential, ONE_CREDENTIAL)
  .superRefine(({ election, primary, backups, term }, { addIssue }) => {
    if (!election) return;
    const given = { primary, backups: backups.length, term };
    for (const [name, unset] of Object.entries(STATIC_SETTINGS)) {
      if (given[name as keyof typeof given] === unset) continue;
      addIssue({
        code: "custom",
        path: [name],
        message: 'must be left out beside "election", which decides it',
      });
    }
  });

const app = z
  .strictObject({
    url: serverUrl.describe("The URL of its AppCallback service."),
    protocol: z
      .enum(["grpc", "grpc-web", "connect"], 'must be "grpc", "grpc-web" or "connect"')
      .default("grpc")
      .describe("The protocol that it is called by."),
    askEveryMs: milliseconds
      .default(15_000)
      .describe(
        "How often it is asked for its subscriptions again, to notice that it is gone or has others.",
      ),
    timeoutMs: milliseconds
      .default(60_000)
      .describe("How long it may take to handle one event. After that the delivery has failed."),
    ...credential,
  })
  .refine(oneCredential, ONE_CREDENTIAL);

/** The parts of the configuration that are tables of components: each with its settings, default and description. */
export const componentTables = {
  state: tableOf(store).default({ default: {} }).describe("The state stores, by name."),
  lock: tableOf(store).default({ default: {} }).describe("The lock stores, by name."),
  sequencer: tableOf(sequencer)
    .default({ default: sequencer.parse({}) })
    .describe("The sequencer stores, by name."),
  pubsub: tableOf(pubsub)
    .default({ default: pubsub.parse({}) })
    .describe("The pubsubs, by name."),
  files: tableOf(store).default({ default: {} }).describe("The file stores, by name."),
  configuration: tableOf(store).default({ default: {} }).describe("The configuration stores, by name."),
  secrets: tableOf(secretStore)
    .default({ default: { type: "env", allow: ["FAIRLEAD_SECRET_*"] } })
    .describe("The secret stores, by name."),
  bindings: tableOf(binding)
    .default({ echo: { type: "echo" } })
    .describe("The bindings that InvokeBinding may call, by name."),
  services: tableOf(service).default({}).describe("The services that InvokeService may call, by app id."),
  apps: tableOf(app).default({}).describe("The apps that serve AppCallback, by app id."),
  hello: tableOf(hello)
    .default({ helloworld: { greeting: "Hello" } })
    .describe("The instances that SayHello may name."),
  logs: tableOf(log).default({}).describe("The retention of logs, by name. Logs without one are kept whole."),
  maps: tableOf(mapGroup)
    .default({})
    .describe(
      'Which servers hold the map partitions of a protocol group, by "<namespace>/<name>". ' +
        "Without an entry a group is this server's own and has no backups.",
    ),
} satisfies Record<ComponentKind, z.ZodType>;
