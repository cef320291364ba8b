import type { Msg } from "@nats-io/transport-node";
import { utf8 } from "../../../../lib/utf8.js";
import type { JetStreamSession } from "../session.js";
import { streamName } from "../streams.js";

/** The bytes of messages after which nats-server ends a response. */
const MAX_BYTES = 8 * 1024 ** 2;

/** The last messages of some subjects, all of one moment. */
export interface LastMessages {
  /** By subject. Those without a message are missing. */
  messages: Map<string, { sequence: number; message: Msg }>;
  /** The sequence of the last message of the stream at that moment, on the replica that answered. */
  upTo: number;
  /** The response ended early, as it was too large: there are messages after the last one. */
  isPartial: boolean;
}

/** A response: "stale" if it is older than asked for, "too many" if more than about 1000 subjects have messages. */
export type DirectGet = LastMessages | "stale" | "too many";

/** Requests the last messages of subjects, also with wildcards, from any replica of the stream of keys. */
export class DirectGets {
  readonly #session: JetStreamSession;
  readonly #api: string;
  /** A subject that always has a message: nats-server tells no moment if it finds nothing. */
  readonly #marker: string;

  constructor(session: JetStreamSession, marker: string) {
    this.#session = session;
    this.#api = `$JS.API.DIRECT.GET.${streamName(session.name, "keys")}`;
    this.#marker = marker;
  }

  /** The last messages of `subjects`, with sequences above `after`, as of the sequence `least` or later. */
  last(subjects: readonly string[], least: number, after = 0): Promise<DirectGet> {
    const request = {
      multi_last: [this.#marker, ...subjects],
      max_bytes: MAX_BYTES,
      ...(after > 0 && { seq: after + 1 }),
    };
    const read = (replies: Msg[]) => readReplies(replies, least);
    return this.#session.collect(this.#api, utf8(JSON.stringify(request)), isStatus, read);
  }
}

/** The last reply of a response has a status and no message. */
const isStatus = (reply: Msg): boolean => reply.data.length === 0 && (reply.headers?.code ?? 0) > 0;

/** The response that the replies make; undefined if one of them was lost. */
function readReplies(replies: Msg[], least: number): DirectGet | undefined {
  const status = replies.at(-1)?.headers;
  if (status?.code === 413) return "too many";
  // No message at all: not even the marker has come to this replica.
  if (status?.code === 404) return "stale";
  if (status?.code === 408) throw new Error(`the cluster refused to read keys: ${status.status}`);
  // The replica could not read its store, as it is closing.
  if (status?.code !== 204) return undefined;
  const upTo = Number(status.get("Nats-UpTo-Sequence"));
  if (upTo < least) return "stale";
  const messages = new Map<string, { sequence: number; message: Msg }>();
  let previous = 0;
  for (const message of replies.slice(0, -1)) {
    const { subject, sequence, before } = positionOf(message);
    if (before !== previous) return undefined;
    previous = sequence;
    messages.set(subject, { sequence, message });
  }
  if (Number(status.get("Nats-Last-Sequence")) !== previous) return undefined;
  return { messages, upTo, isPartial: Number(status.get("Nats-Num-Pending")) > 0 };
}

interface Position {
  subject: string;
  sequence: number;
  /** The sequence of the message before it in the response; 0 for the first. */
  before: number;
}

function positionOf({ headers }: Msg): Position {
  const position: Position = { subject: "", sequence: 0, before: -1 };
  for (const [name, [value = ""]] of headers ?? []) {
    if (name === "Nats-Subject") position.subject = value;
    else if (name === "Nats-Sequence") position.sequence = Number(value);
    else if (name === "Nats-Last-Sequence") position.before = Number(value);
  }
  return position;
}
