import type { Write } from "../../../engine.js";
import { fullError } from "../../shared/errors.js";
import type { Header, StreamMessage } from "../message.js";
import { internalPrefix, subjectPrefix } from "../streams.js";
import { type KeySubject, subjectOfKey } from "./key-subjects.js";
import type { KnownEntries } from "./known-entries.js";
import { deleteHeaders, isPresent, type StoredEntry, setHeaders } from "./stored-entry.js";
import { splitValue } from "./value-parts.js";

/** nats-server takes batches of at most this many messages. */
const MAX_MESSAGES = 1000;

const EXPECTED = "Nats-Expected-Last-Subject-Sequence";
const EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject";

/** A write with the subject of its key. */
export type PlannedWrite = Write & { at: KeySubject };

/** The state that a commit's messages depend on. */
export interface PlanContext {
  /** The engine's name. */
  engine: string;
  nowMs: number;
  maxPayload: number;
  /** The last messages of all the commit's keys, if they were read. */
  present: ReadonlyMap<string, StoredEntry> | undefined;
  /** If they were not read: what is known of them. */
  known: KnownEntries;
}

/** An entry that a commit sets or deletes, by its distance to the commit's last message. */
interface PlannedEntry {
  key: string;
  subject: string;
  distance: number;
  /** The whole value. */
  value: Uint8Array;
  expiresAtMs?: number;
  isDeleted: boolean;
}

/** The messages of a commit, and the entries that they write. There are no messages if the commit changes nothing. */
export interface CommitPlan {
  messages: StreamMessage[];
  entries: PlannedEntry[];
}

/** The writes with their subjects. A delete of an absent key is a check. */
export function planWrites(engine: string, writes: readonly Write[]): PlannedWrite[] {
  const root = subjectPrefix(engine, "keys");
  return writes.map((write) => {
    const at = subjectOfKey(root, write.key);
    if (write.type === "delete" && write.ifVersion === 0n)
      return { type: "check", key: write.key, ifVersion: 0n, at };
    return { ...write, at };
  });
}

/** Whether a commit has to read its keys before it can write. */
export function needsRead(writes: readonly PlannedWrite[], { known, nowMs }: PlanContext): boolean {
  return writes.some((write) => {
    const { type, ifVersion } = write;
    if (ifVersion !== undefined) return known.sequenceOf(write.at.subject, ifVersion, nowMs) === undefined;
    return type === "delete" || (type === "set" && write.ttlMs === "keep");
  });
}

/** The messages of a commit: checks, then what it writes. Fails as EngineFault "full" if there are too many. */
export function planCommit(writes: readonly PlannedWrite[], context: PlanContext): CommitPlan {
  const checks: Header[][] = [];
  const changes: Change[] = [];
  for (const write of writes) {
    const change = changeOf(write, context);
    if (change) changes.push(change);
    else checks.push([expectation(write, context), [EXPECTED_SUBJECT, write.at.subject]]);
  }
  if (changes.length === 0) return { messages: [], entries: [] };
  const plan = arrange(checks, changes, context);
  if (plan.messages.length <= MAX_MESSAGES) return plan;
  throw fullError(
    "commitMessages",
    MAX_MESSAGES,
    `a commit needs ${plan.messages.length} messages, nats-server stores at most ${MAX_MESSAGES} at once: ` +
      "use fewer keys or smaller values",
  );
}

/** A write that has a message of its own; `parts` come before it. */
interface Change {
  key: string;
  subject: string;
  data: Uint8Array;
  parts: StreamMessage[];
  condition: Header | undefined;
  headers: (distance: number) => Header[];
  entry: Omit<PlannedEntry, "key" | "distance">;
}

/** The change that a write makes; undefined if it only checks. */
function changeOf(write: PlannedWrite, context: PlanContext): Change | undefined {
  if (write.type === "check") return undefined;
  const { key, at } = write;
  const { subject } = at;
  const stored = context.present?.get(subject);
  const isConditional = write.ifVersion !== undefined;
  if (write.type === "delete") {
    // Without a condition it was read, and then it must not have changed.
    if (!isConditional && !(stored && isPresent(stored, context.nowMs))) return undefined;
    const condition = expectation(write, context);
    const headers = (distance: number) => deleteHeaders(key, at, distance);
    return {
      key,
      subject,
      data: NOTHING,
      parts: [],
      condition,
      headers,
      entry: { subject, value: NOTHING, isDeleted: true },
    };
  }
  const { engine, maxPayload, nowMs } = context;
  const expiresAtMs = expiryOf(write, stored, nowMs);
  const { parts, last } = splitValue(engine, subject, write.value, { maxPayload, expiresAtMs, nowMs });
  const entry = {
    subject,
    value: write.value,
    isDeleted: false,
    ...(expiresAtMs !== undefined && { expiresAtMs }),
  };
  const headers = (distance: number) =>
    setHeaders(key, at, { distance, parts: parts.length, expiresAtMs }, nowMs);
  const condition = isConditional || write.ttlMs === "keep" ? expectation(write, context) : undefined;
  return { key, subject, data: last, parts, condition, headers, entry };
}

function expiryOf(
  { ttlMs }: Write & { type: "set" },
  stored: StoredEntry | undefined,
  nowMs: number,
): number | undefined {
  if (ttlMs === undefined) return undefined;
  if (ttlMs === "keep") return stored && isPresent(stored, nowMs) ? stored.expiresAtMs : undefined;
  return Math.ceil(nowMs + ttlMs);
}

/** The condition that the key's last message is the one that was read, or that has the expected version. */
function expectation(
  { at: { subject }, ifVersion = 0n }: PlannedWrite,
  { present, known, nowMs }: PlanContext,
): Header {
  const expected = present ? present.get(subject)?.sequence : known.sequenceOf(subject, ifVersion, nowMs);
  return [EXPECTED, String(expected ?? 0)];
}

function arrange(
  checks: readonly Header[][],
  changes: readonly Change[],
  { engine }: PlanContext,
): CommitPlan {
  const [first] = changes;
  const [check] = checks;
  // A message has one condition, which may be on another subject.
  const isJoined =
    checks.length === 1 && changes.length === 1 && !first?.condition && first?.parts.length === 0;
  const messages: StreamMessage[] = [];
  if (!isJoined) {
    const subject = `${internalPrefix(engine)}c`;
    for (const headers of checks) messages.push({ subject, data: NOTHING, headers });
  }
  const entries: PlannedEntry[] = [];
  for (const { parts } of changes) messages.push(...parts);
  for (const [i, { key, subject, data, condition, headers, entry }] of changes.entries()) {
    const distance = changes.length - 1 - i;
    const all = headers(distance);
    if (condition) all.push(condition);
    if (isJoined && check) all.push(...check);
    messages.push({ subject, data, headers: all });
    entries.push({ key, ...entry, distance });
  }
  return { messages, entries };
}

const NOTHING = new Uint8Array(0);
