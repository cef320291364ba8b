import type { RetentionPolicy, StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { delay } from "../../../lib/timer.js";
import { EngineFault } from "../../engine.js";
import { MiB } from "../shared/bounds.js";
import type { JETSTREAM_BOUNDS } from "./bounds.js";
import { API_CODES, ApiResponseError, ClusterError } from "./errors.js";
import type { JetStreamSession } from "./session.js";

/** The version of what the engine stores. A later version of Fairlead that stores it differently raises it. */
const FORMAT = "1";

/** How often a cluster with too few nodes is asked again. */
const PLACEMENT_RETRY_MS = 100;

const FORMAT_KEY = "fairlead.format";

const NANOS_PER_MS = 1_000_000;

/** How long a message's id is remembered: a publish whose outcome is unknown is repeated within this time. */
const DUPLICATE_WINDOW_MS = 120_000;

/** How long a deleted or expired key leaves a marker: watches that were disconnected for less see the deletion. */
export const MARKER_TTL_MS = 3_600_000;

/** The streams of an engine, by what they hold. */
export type StreamPart = "keys" | "logs" | "topics" | "blobs";

/** The first tokens of the subjects of each stream, behind the engine's name. */
const SUBJECTS: Readonly<Record<StreamPart, string>> = { keys: "k", logs: "l", topics: "t", blobs: "b" };

const PARTS = Object.keys(SUBJECTS) as StreamPart[];

/** The stream's name. */
export const streamName = (engine: string, part: StreamPart): string => `${engine}-${part}`;

/** The prefix of the subjects of the stream, with a dot at the end. */
export const subjectPrefix = (engine: string, part: StreamPart): string => `${engine}.${SUBJECTS[part]}.`;

/** The prefix of the subjects of the engine's own messages in the stream of keys, with a dot at the end. */
export const internalPrefix = (engine: string): string => `${engine}.i.`;

/** Settings that all streams of an engine share. */
export interface StreamSettings {
  replicas: number;
  bounds: Readonly<Record<keyof typeof JETSTREAM_BOUNDS, number>>;
}

type Settings = Partial<StreamConfig> &
  Pick<StreamConfig, "name" | "subjects" | "max_bytes" | "num_replicas">;

function settingsOf(engine: string, part: StreamPart, { replicas, bounds }: StreamSettings): Settings {
  const shared = {
    name: streamName(engine, part),
    subjects: [`${subjectPrefix(engine, part)}>`],
    storage: "file",
    discard: "new",
    retention: "limits",
    num_replicas: replicas,
    allow_direct: true,
    duplicate_window: DUPLICATE_WINDOW_MS * NANOS_PER_MS,
    metadata: { [FORMAT_KEY]: FORMAT },
  } as const satisfies { [Name in keyof StreamConfig]?: unknown };
  const own = {
    keys: {
      subjects: [`${subjectPrefix(engine, "keys")}>`, `${internalPrefix(engine)}>`],
      max_bytes: withReserve(bounds.maxKeyBytes),
      max_msgs_per_subject: 1,
      allow_atomic: true,
      allow_msg_ttl: true,
      allow_rollup_hdrs: true,
      subject_delete_marker_ttl: MARKER_TTL_MS * NANOS_PER_MS,
    },
    logs: { max_bytes: withReserve(bounds.maxLogBytes), allow_atomic: true, allow_rollup_hdrs: true },
    topics: {
      max_bytes: maxBytesOf(bounds.maxTopicBytes),
      retention: "interest" as RetentionPolicy,
      allow_atomic: true,
    },
    blobs: {
      max_bytes: withReserve(bounds.maxBlobBytes),
      allow_atomic: true,
      allow_msg_ttl: true,
      allow_rollup_hdrs: true,
    },
  }[part];
  return { ...shared, ...own } as unknown as Settings;
}

/** The setting of a stream for a bound of the engine, with some room above it for the barriers of reads, and for deletes. */
const withReserve = (most: number): number =>
  maxBytesOf(most + Math.min(64 * MiB, Math.max(MiB, Math.floor(most / 10))));

/** The setting of a stream for the most bytes, which -1 does not bound. */
const maxBytesOf = (most: number): number => (Number.isFinite(most) ? most : -1);

/** Creates the streams that are missing, and checks the others: each must promise at least what is asked. */
export async function openStreams(session: JetStreamSession, settings: StreamSettings): Promise<void> {
  for (const part of PARTS) await openStream(session, settingsOf(session.name, part, settings));
}

async function openStream(session: JetStreamSession, asked: Settings): Promise<void> {
  const present = await findStream(session, asked.name);
  if (present) {
    await checkStream(session, present, asked);
    return;
  }
  try {
    await createStream(session, asked);
  } catch (error) {
    if (!(error instanceof ApiResponseError) && !(error instanceof EngineFault)) throw error;
    // Another server may have created it at the same time.
    const created = await findStream(session, asked.name);
    if (!created) throw new ClusterError(explainRefusal(asked, error), error);
    await checkStream(session, created, asked);
  }
}

/** Creates a stream. Nodes of a cluster that is starting do not know each other yet, and are waited for. */
async function createStream(session: JetStreamSession, asked: Settings): Promise<void> {
  const deadlineMs = performance.now() + session.waitMs;
  for (;;) {
    try {
      await session.api(`STREAM.CREATE.${asked.name}`, asked);
      return;
    } catch (error) {
      const isTooSmall = error instanceof ApiResponseError && error.code === API_CODES.tooFewNodes;
      if (!isTooSmall || performance.now() > deadlineMs) throw error;
      await delay(PLACEMENT_RETRY_MS, session.closing);
    }
  }
}

function explainRefusal(asked: Settings, error: Error): string {
  const replicas = asked.num_replicas;
  const help =
    error instanceof EngineFault
      ? `it reserves the stream's max_bytes, ${asked.max_bytes}: ask for less, or raise the cluster's limits`
      : replicas > 1
        ? `a stream with ${replicas} replicas needs a cluster of ${replicas} servers with JetStream; ` +
          "for a single nats-server ask for 1 replica"
        : "see that its limits allow it";
  return `The cluster did not create the stream ${JSON.stringify(asked.name)}: ${error.message}; ${help}`;
}

async function findStream(session: JetStreamSession, name: string): Promise<StreamInfo | undefined> {
  try {
    return await session.api<StreamInfo>(`STREAM.INFO.${name}`);
  } catch (error) {
    if (error instanceof ApiResponseError && error.code === API_CODES.streamNotFound) return undefined;
    throw error;
  }
}

/** Fails if the stream promises less than is asked. Changes its bound of bytes to the one that is asked. */
async function checkStream(
  session: JetStreamSession,
  { config }: StreamInfo,
  asked: Settings,
): Promise<void> {
  const name = JSON.stringify(config.name);
  const format = config.metadata?.[FORMAT_KEY];
  if (format !== FORMAT) {
    throw new ClusterError(
      format === undefined
        ? `The stream ${name} exists, and Fairlead has not created it: choose another name for the engine`
        : `The stream ${name} has the format ${format}, this version of Fairlead reads the format ${FORMAT}`,
    );
  }
  if (config.num_replicas < asked.num_replicas) {
    throw new ClusterError(
      `The stream ${name} has num_replicas ${config.num_replicas}, less than ${asked.num_replicas} as asked: ` +
        `change it with "nats stream edit ${config.name} --replicas ${asked.num_replicas}", or ask for less`,
    );
  }
  for (const [setting, value] of Object.entries(asked)) {
    if (["name", "metadata", "num_replicas", "max_bytes"].includes(setting)) continue;
    const actual = (config as unknown as Record<string, unknown>)[setting];
    if (JSON.stringify(actual) === JSON.stringify(value)) continue;
    throw new ClusterError(
      `The stream ${name} has ${setting} ${JSON.stringify(actual)}, it must be ${JSON.stringify(value)}: ` +
        "somebody has changed it; change it back with nats stream edit",
    );
  }
  if (config.max_bytes !== asked.max_bytes) {
    await session.api(`STREAM.UPDATE.${config.name}`, { ...config, max_bytes: asked.max_bytes });
  }
}
