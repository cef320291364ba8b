import { z } from "zod";
import { count, milliseconds } from "./fields.js";

const KiB = 1024;
const MiB = 1024 ** 2;

const percent = (usual: number) => count(100).default(usual);

/** The limits of messages and of what one request may name. */
const messages = {
  keyBytes: count().default(1024).describe("The UTF-8 bytes of a key, a file's name or a lock's owner."),
  valueBytes: count()
    .default(4 * MiB - 16 * KiB)
    .describe(
      "The bytes of one value, event, record or secret with its metadata. " +
        "The default leaves room for the rest of the message in the 4 MiB that gRPC clients read by default.",
    ),
  messageBytes: count()
    .default(8 * MiB)
    .describe("The bytes of one message. A stream has any number of messages."),
  headerBytes: count(MiB)
    .default(32 * KiB)
    .describe("The bytes of one call's request headers: names and values, plus 32 for each header."),
  batchItems: count()
    .default(10_000)
    .describe("The items of one request: states, keys, operations, configuration items."),
};

/** The limits of connections and open calls. */
const connections = {
  connections: count().default(10_000).describe("The connections that are open at the same time."),
  connectionStreams: count(2 ** 30)
    .default(1000)
    .describe("The calls that are open on one connection at the same time."),
  streams: count().default(10_000).describe("The calls that are open on all connections at the same time."),
  arrivingBytes: count()
    .default(256 * MiB)
    .describe("The bytes of incomplete messages that have arrived, of all calls together."),
  leavingBytes: count()
    .default(256 * MiB)
    .describe(
      "The bytes of answers that wait for their callers, of all calls together. Above it no further call is accepted.",
    ),
  connectionSharePercent: percent(50).describe(
    "How much of streams, arrivingBytes and leavingBytes one connection may take. " +
      "One message is always accepted.",
  ),
  subjectSharePercent: percent(50).describe(
    "How much of streams, arrivingBytes and leavingBytes one subject may take, on all of its connections together.",
  ),
  anonymousSharePercent: percent(10).describe(
    "How much of streams, arrivingBytes and leavingBytes all calls without credentials may take together, " +
      "including those that need none (health). As many calls may wait for their tokens to be checked.",
  ),
};

/** How long the server waits for clients. */
const timeouts = {
  connectionIdleMs: milliseconds
    .default(300_000)
    .describe("How long a connection without calls is kept, and a tunnel that nothing uses."),
  headersTimeoutMs: milliseconds
    .default(60_000)
    .describe(
      "How long the headers of a request may take. Over HTTP/2 also the first SETTINGS, " +
        "and the answer to a PING from a client that sends other frames meanwhile.",
    ),
  pingMs: milliseconds
    .default(10_000)
    .describe(
      "After how much silence a client is sent a PING: over the tunnel, and over HTTP/2 while it has open calls.",
    ),
  pingTimeoutMs: milliseconds
    .default(10_000)
    .describe("How long a client may take to answer a PING. After that its connection is closed."),
  tcpKeepaliveMs: milliseconds
    .default(15_000)
    .describe("After how much silence TCP probes the other machine, for every connection."),
  stalledMs: milliseconds
    .default(60_000)
    .describe("How long a caller may take none of an answer. After that the call is canceled."),
};

/** The limits of what clients create by using it. */
const entries = {
  fileMetadataBytes: count()
    .default(4096)
    .describe("The bytes of one file's metadata, plus 8 for each pair. It is sent in a header."),
  locks: count()
    .default(100_000)
    .describe(
      "The resources that have a lock or a fence. A fence is remembered for seven days after the lease.",
    ),
  sequencerKeys: count().default(100_000).describe("The keys of sequencers that clients may create."),
  sequences: count()
    .default(10_000)
    .describe(
      "The sequences of which a server holds reserved ids. One too many costs another the rest of its ids.",
    ),
  logs: count()
    .default(10_000)
    .describe('The logs that clients may create by naming them, beside "default" and the configured ones.'),
  subscriptionKeys: count()
    .default(10_000)
    .describe("The keys that one SubscribeConfiguration call may follow, in all its requests together."),
  subscriptionGroups: count()
    .default(100)
    .describe(
      "The groups, with their labels, apps and stores, that one SubscribeConfiguration call may follow keys of.",
    ),
  mapPartitions: count()
    .default(10_000)
    .describe("The map partitions that clients may create by naming them."),
  gossipMaps: count().default(1000).describe("The gossip maps that clients may create by naming them."),
  gossipEntries: count().default(100_000).describe("The entries of one gossip map, including tombstones."),
  gossipBytes: count()
    .default(256 * MiB)
    .describe("The bytes of all keys and values of one gossip map. Every member keeps them in memory."),
  apps: count()
    .default(10_000)
    .describe(
      "The apps that have dialed in and are remembered. For one more, an app is forgotten that is away and has no " +
        "waiting events.",
    ),
  inFlight: count().default(32).describe("The events on their way to one subscription without an answer."),
};

/** The limits of what clients can make grow. */
export const limitSettings = z.strictObject({ ...messages, ...connections, ...timeouts, ...entries });
