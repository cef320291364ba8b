import { createHash } from "node:crypto";
import { streamName, subjectPrefix } from "../streams.js";

/** The characters of a hash: 132 bits, so that no two names of a server's life have the same one. */
const HASH_CHARS = 22;

/** How many hashes of names are kept. */
const MAX_CACHED = 10_000;

/** The keys of a consumer's metadata that have the true names of its topic and group. */
const TOPIC_KEY = "fairlead.topic";
const GROUP_KEY = "fairlead.group";

/** A group of a topic: the durable consumer with this name is the group. */
export interface GroupName {
  topic: string;
  group: string;
  /** The name of the consumer. */
  consumer: string;
}

/** The metadata of a group's consumer. */
export type GroupMetadata = Record<string, string>;

/**
 * The names of topics and groups in JetStream. They have any characters and up to a kilobyte, and names of consumers
 * have neither. So they are hashed, and the consumer's metadata has the true names.
 */
export class GroupNames {
  readonly stream: string;
  /** A subject for messages that no group gets. */
  readonly fence: string;
  /** The consumer that is interested in the events of all topics: see createInterest(). */
  readonly interest = "interest";
  /** The subjects of all topics. */
  readonly allSubjects: string;
  readonly #prefix: string;
  readonly #hashes = new Map<string, string>();

  constructor(engine: string) {
    this.stream = streamName(engine, "topics");
    this.#prefix = subjectPrefix(engine, "topics");
    this.fence = `${this.#prefix}fence`;
    this.allSubjects = `${this.#prefix}>`;
  }

  /** The subject of the topic's events. */
  subjectOf(topic: string): string {
    return this.#prefix + this.#hash(topic);
  }

  of(topic: string, group: string): GroupName {
    return { topic, group, consumer: `${this.#hash(topic)}_${this.#hash(group)}` };
  }

  /** The subject of the topic of a group's consumer; undefined for another consumer. */
  subjectOfGroup(consumer: string): string | undefined {
    return consumer.length === 2 * HASH_CHARS + 1 ? this.#prefix + consumer.slice(0, HASH_CHARS) : undefined;
  }

  metadataOf({ topic, group }: GroupName): GroupMetadata {
    return { [TOPIC_KEY]: topic, [GROUP_KEY]: group };
  }

  /** The group of a consumer; undefined if the engine has not created the consumer. */
  fromMetadata(consumer: string, metadata: GroupMetadata = {}): GroupName | undefined {
    const { [TOPIC_KEY]: topic, [GROUP_KEY]: group } = metadata;
    return topic === undefined || group === undefined ? undefined : { topic, group, consumer };
  }

  #hash(name: string): string {
    const known = this.#hashes.get(name);
    if (known) return known;
    const hash = createHash("sha256").update(name).digest("base64url").slice(0, HASH_CHARS);
    if (this.#hashes.size >= MAX_CACHED) this.#hashes.clear();
    this.#hashes.set(name, hash);
    return hash;
  }
}
