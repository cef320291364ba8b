import type { ConsumerConfig, ConsumerInfo, StreamInfo } from "@nats-io/jetstream";
import { fullError } from "../../shared/errors.js";
import { API_CODES, ApiResponseError } from "../errors.js";
import type { JetStreamSession } from "../session.js";
import { ACK_WAIT_MS } from "./claims.js";
import type { GroupName, GroupNames } from "./group-names.js";

const NANOS_PER_MS = 1_000_000;

/** More requests than consumers of a group ever wait: JetStream ignores those above it. */
const MAX_WAITING = 1_000_000;

/** The first sequence that a consumer gets which is to get no event. */
const NO_EVENT = Number.MAX_SAFE_INTEGER;

/** How long a list of the groups is believed while it is far below the bounds. */
const LIST_LIFETIME_MS = 60_000;

interface GroupBounds {
  maxTopics: number;
  maxGroups: number;
}

/** The state of a group in JetStream. */
export interface DurableGroupState {
  name: GroupName;
  /** The number of its events that are not handled, including claimed ones. */
  events: number;
  /** Whether a consumer on any server waits for an event. */
  isAwaited: boolean;
}

/** The durable consumers of the stream of topics: each one is a group. */
export class GroupConsumers {
  readonly #session: JetStreamSession;
  readonly #names: GroupNames;
  readonly #bounds: GroupBounds;
  /** The groups of each topic by the last list, and those that this server has created since: names of consumers. */
  readonly #known = new Map<string, Set<string>>();
  #knownCount = 0;
  #listedMs = Number.NEGATIVE_INFINITY;
  #isReplicated = false;

  constructor(session: JetStreamSession, names: GroupNames, bounds: GroupBounds) {
    this.#session = session;
    this.#names = names;
    this.#bounds = bounds;
  }

  /**
   * Creates the interest of the engine in the events of all topics. In a stream with interest retention each replica
   * stores only messages in which a consumer that it knows is interested. One that was down while a group was created
   * would skip messages for it, and if it leads the group's consumer later, the group never gets them. This consumer is
   * known to all replicas from the start, and needs no acknowledgement itself, as its first event never comes.
   */
  async createInterest(): Promise<void> {
    const { config } = await this.#session.api<StreamInfo>(`STREAM.INFO.${this.#names.stream}`);
    // A single replica knows all groups. After a restart it would reset a consumer that is ahead of the stream.
    this.#isReplicated = config.num_replicas > 1;
    if (!this.#isReplicated) return;
    await this.#create(this.#names.interest, this.#names.allSubjects, { opt_start_seq: NO_EVENT });
  }

  /** Whether events of a topic without a group are stored, until removeStray() removes them. */
  get keepsStray(): boolean {
    return this.#isReplicated;
  }

  /** Whether the topic with this subject had a group when the groups were listed last. */
  hadGroup(subject: string): boolean {
    return this.#known.has(subject);
  }

  /**
   * Removes the stored events of topics that have no group. Default: of all topics. They have a lower sequence than what
   * a group gets that is not in the list yet.
   */
  async removeStray(subjects?: Iterable<string>): Promise<void> {
    const { stream, allSubjects } = this.#names;
    const details = subjects ? undefined : { subjects_filter: allSubjects };
    const { state } = await this.#session.api<StreamInfo>(`STREAM.INFO.${stream}`, details);
    await this.#listNames();
    for (const subject of subjects ?? Object.keys(state.subjects ?? {})) {
      if (this.#known.has(subject)) continue;
      await this.#session.api(`STREAM.PURGE.${stream}`, { filter: subject, seq: state.last_seq + 1 });
    }
  }

  /**
   * Creates the group if it does not exist. It gets what is published after the call. Resolves with whether it was
   * created, when the publishes of all servers reach it. Fails as EngineFault "full" if a bound is reached.
   */
  async begin(name: GroupName): Promise<boolean> {
    if (await this.#find(name.consumer)) return false;
    await this.#checkBounds(name);
    const subject = this.#names.subjectOf(name.topic);
    // Acknowledgements would not remove what was published without a group.
    if ((await this.#lastSequence(name.topic)) > 0) await this.removeStray([subject]);
    // Of the stream's leader: the replica of a consumer's leader may lack the latest events.
    const { state } = await this.#session.api<StreamInfo>(`STREAM.INFO.${this.#names.stream}`);
    const isNew = await this.#create(name.consumer, subject, {
      opt_start_seq: state.last_seq + 1,
      metadata: this.#names.metadataOf(name),
    });
    if (isNew) this.#know(name.consumer);
    return isNew;
  }

  /** The group as it is now; undefined if there is none. */
  async state(name: GroupName): Promise<DurableGroupState | undefined> {
    const info = await this.#find(name.consumer);
    return info && stateOf(info, name);
  }

  /** Whether the group has events that are not handled. */
  async hasEvents(name: GroupName): Promise<boolean> {
    const [info, last] = await Promise.all([this.#find(name.consumer), this.#lastSequence(name.topic)]);
    if (!info) return false;
    // The replica of the consumer's leader may lack an event that the stream's leader has.
    return stateOf(info, name).events > 0 || last > info.delivered.stream_seq;
  }

  /** All groups. */
  async list(): Promise<DurableGroupState[]> {
    const groups: DurableGroupState[] = [];
    for (let offset = 0; ; ) {
      const { consumers, total } = await this.#page<ConsumerInfo>("LIST", offset);
      for (const info of consumers) {
        const name = this.#names.fromMetadata(info.name, info.config.metadata);
        if (name) groups.push(stateOf(info, name));
      }
      offset += consumers.length;
      if (consumers.length === 0 || offset >= total) break;
    }
    return groups;
  }

  /** Removes the group with its events; false if there is none. */
  async remove({ consumer }: GroupName): Promise<boolean> {
    this.#listedMs = Number.NEGATIVE_INFINITY;
    try {
      await this.#session.api(`CONSUMER.DELETE.${this.#names.stream}.${consumer}`);
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  async #find(consumer: string): Promise<ConsumerInfo | undefined> {
    try {
      return await this.#session.api<ConsumerInfo>(`CONSUMER.INFO.${this.#names.stream}.${consumer}`);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** The sequence of the topic's last event that is stored; 0 if there is none. */
  async #lastSequence(topic: string): Promise<number> {
    const request = { last_by_subj: this.#names.subjectOf(topic) };
    try {
      const method = `STREAM.MSG.GET.${this.#names.stream}`;
      return (await this.#session.api<{ message: { seq: number } }>(method, request)).message.seq;
    } catch (error) {
      if (error instanceof ApiResponseError && error.code === API_CODES.messageNotFound) return 0;
      throw error;
    }
  }

  /** Creates a consumer; false if there is one with this name. */
  async #create(consumer: string, subject: string, settings: Partial<ConsumerConfig>): Promise<boolean> {
    const { stream } = this.#names;
    const config = {
      name: consumer,
      durable_name: consumer,
      filter_subject: subject,
      deliver_policy: "by_start_sequence",
      ack_policy: "explicit",
      ack_wait: ACK_WAIT_MS * NANOS_PER_MS,
      max_deliver: -1,
      max_ack_pending: -1,
      max_waiting: MAX_WAITING,
      ...settings,
    };
    const request = { stream_name: stream, config, action: "create" };
    try {
      await this.#session.api(`CONSUMER.CREATE.${stream}.${consumer}.${subject}`, request);
      return true;
    } catch (error) {
      if (error instanceof ApiResponseError && error.code === API_CODES.consumerExists) return false;
      throw error;
    }
  }

  async #checkBounds({ topic, group, consumer }: GroupName): Promise<void> {
    const { maxTopics, maxGroups } = this.#bounds;
    const isFar = this.#knownCount < Math.min(maxTopics, maxGroups) / 2;
    if (!isFar || performance.now() - this.#listedMs > LIST_LIFETIME_MS) await this.#listNames();
    const groups = this.#known.get(this.#names.subjectOf(topic));
    if (groups?.has(consumer)) return;
    if (groups && groups.size >= maxGroups) {
      throw fullError("maxGroups", maxGroups, `the topic has no room for consumer group "${group}"`);
    }
    if (!groups && this.#known.size >= maxTopics) {
      throw fullError(
        "maxTopics",
        maxTopics,
        `no room for topic ${JSON.stringify(topic)}: all topics with groups`,
      );
    }
  }

  #know(consumer: string): void {
    const subject = this.#names.subjectOfGroup(consumer);
    if (!subject) return;
    const groups = this.#known.get(subject) ?? new Set();
    if (!groups.has(consumer)) this.#knownCount++;
    this.#known.set(subject, groups.add(consumer));
  }

  #listed(consumers: Iterable<string>): void {
    this.#known.clear();
    this.#knownCount = 0;
    for (const consumer of consumers) this.#know(consumer);
    this.#listedMs = performance.now();
  }

  async #listNames(): Promise<void> {
    for (;;) {
      const names = await this.#readNames();
      if (!names) continue;
      this.#listed(names);
      return;
    }
  }

  /** The names of all consumers; undefined if they have changed, so that one may have been skipped between two pages. */
  async #readNames(): Promise<string[] | undefined> {
    const names: string[] = [];
    for (;;) {
      // Each page begins with the last name of the one before.
      const offset = Math.max(0, names.length - 1);
      const { consumers, total } = await this.#page<string>("NAMES", offset);
      if (names.length > 0 && consumers[0] !== names.at(-1)) return undefined;
      names.push(...(names.length > 0 ? consumers.slice(1) : consumers));
      if (offset + consumers.length >= total) return names;
    }
  }

  async #page<T>(kind: "LIST" | "NAMES", offset: number): Promise<{ consumers: T[]; total: number }> {
    type Page = { consumers: T[] | null; total: number };
    const method = `CONSUMER.${kind}.${this.#names.stream}`;
    const { consumers, total } = await this.#session.api<Page>(method, { offset });
    return { consumers: consumers ?? [], total };
  }
}

const stateOf = (info: ConsumerInfo, name: GroupName): DurableGroupState => ({
  name,
  events: info.num_pending + info.num_ack_pending,
  isAwaited: info.num_waiting > 0,
});

const isMissing = (error: unknown): boolean =>
  error instanceof ApiResponseError && error.code === API_CODES.consumerNotFound;
