import type { ConsumerInfo, StreamInfo } from "@nats-io/jetstream";
import { delay } from "../../../../lib/timer.js";
import { fullError } from "../../shared/errors.js";
import { API_CODES, ApiResponseError } from "../errors.js";
import type { JetStreamSession } from "../session.js";
import { ACK_WAIT_MS } from "./claims.js";
import type { GroupName, GroupNames } from "./group-names.js";

const NANOS_PER_MS = 1_000_000;

/** More requests than consumers of a group ever wait: JetStream ignores those above it. */
const MAX_WAITING = 1_000_000;

/** How long a new group waits for the replicas of its consumer. One that is down must not hold it up. */
const REPLICAS_MS = 250;
const REPLICAS_POLL_MS = 5;

/** How long a list of the groups is believed while it is far below the bounds. */
const LIST_LIFETIME_MS = 60_000;

interface GroupBounds {
  maxTopics: number;
  maxGroups: number;
}

/** What JetStream knows of a group. */
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
  /** The consumers of the last list, and those that this server has created since. */
  #known = new Set<string>();
  #listedMs = Number.NEGATIVE_INFINITY;

  constructor(session: JetStreamSession, names: GroupNames, bounds: GroupBounds) {
    this.#session = session;
    this.#names = names;
    this.#bounds = bounds;
  }

  /**
   * Creates the group if it does not exist. It gets what is published after the call. Resolves with whether it was
   * created, when the publishes of all servers reach it. Fails as EngineFault "full" if a bound is reached.
   */
  async begin(name: GroupName): Promise<boolean> {
    if (await this.#find(name.consumer)) return false;
    await this.#checkBounds(name);
    const { stream } = this.#names;
    // Of the stream's leader: the replica of a consumer's leader may lack the latest events.
    const { state } = await this.#session.api<StreamInfo>(`STREAM.INFO.${stream}`);
    const subject = this.#names.subjectOf(name.topic);
    const config = {
      name: name.consumer,
      durable_name: name.consumer,
      filter_subject: subject,
      deliver_policy: "by_start_sequence",
      opt_start_seq: state.last_seq + 1,
      ack_policy: "explicit",
      ack_wait: ACK_WAIT_MS * NANOS_PER_MS,
      max_deliver: -1,
      max_ack_pending: -1,
      max_waiting: MAX_WAITING,
      metadata: this.#names.metadataOf(name),
    };
    const request = { stream_name: stream, config, action: "create" };
    try {
      await this.#session.api(`CONSUMER.CREATE.${stream}.${name.consumer}.${subject}`, request);
    } catch (error) {
      if (!(error instanceof ApiResponseError) || error.code !== API_CODES.consumerExists) throw error;
      return false;
    }
    this.#known.add(name.consumer);
    await this.#replicasKnow(name.consumer);
    return true;
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
    for await (const info of this.#pages<ConsumerInfo>("LIST")) {
      const name = this.#names.fromMetadata(info.name, info.config.metadata);
      if (name) groups.push(stateOf(info, name));
    }
    this.#listed(groups.map(({ name }) => name.consumer));
    return groups;
  }

  /** Removes the group with its events; false if there is none. */
  async remove({ consumer }: GroupName): Promise<boolean> {
    this.#known.delete(consumer);
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

  /**
   * Waits until the replicas know the consumer. Each one decides for itself whether a group is interested in a message,
   * and one that does not know the group yet would not store it.
   */
  async #replicasKnow(consumer: string): Promise<void> {
    const deadlineMs = performance.now() + REPLICAS_MS;
    while (performance.now() < deadlineMs) {
      const replicas = (await this.#find(consumer))?.cluster?.replicas ?? [];
      if (replicas.every(({ current, offline }) => current || offline)) return;
      await delay(REPLICAS_POLL_MS, this.#session.closing);
    }
  }

  async #checkBounds({ topic, group, consumer }: GroupName): Promise<void> {
    const { maxTopics, maxGroups } = this.#bounds;
    const isFar = this.#known.size < Math.min(maxTopics, maxGroups) / 2;
    if (!isFar || performance.now() - this.#listedMs > LIST_LIFETIME_MS) {
      const consumers: string[] = [];
      for await (const each of this.#pages<string>("NAMES")) consumers.push(each);
      this.#listed(consumers);
    }
    const topics = new Map<string, number>();
    for (const each of this.#known) {
      const part = this.#names.topicPart(each);
      topics.set(part, (topics.get(part) ?? 0) + 1);
    }
    const groups = topics.get(this.#names.topicPart(consumer));
    if (groups !== undefined && groups >= maxGroups) {
      throw fullError("maxGroups", maxGroups, `the topic has no room for consumer group "${group}"`);
    }
    if (groups === undefined && topics.size >= maxTopics) {
      throw fullError(
        "maxTopics",
        maxTopics,
        `no room for topic ${JSON.stringify(topic)}: all topics with groups`,
      );
    }
  }

  #listed(consumers: Iterable<string>): void {
    this.#known = new Set(consumers);
    this.#listedMs = performance.now();
  }

  async *#pages<T>(kind: "LIST" | "NAMES"): AsyncGenerator<T, void, undefined> {
    for (let offset = 0; ; ) {
      const method = `CONSUMER.${kind}.${this.#names.stream}`;
      const { consumers, total } = await this.#session.api<{ consumers: T[] | null; total: number }>(method, {
        offset,
      });
      yield* consumers ?? [];
      offset += consumers?.length ?? 0;
      if (!consumers?.length || offset >= total) return;
    }
  }
}

const stateOf = (info: ConsumerInfo, name: GroupName): DurableGroupState => ({
  name,
  events: info.num_pending + info.num_ack_pending,
  isAwaited: info.num_waiting > 0,
});

const isMissing = (error: unknown): boolean =>
  error instanceof ApiResponseError && error.code === API_CODES.consumerNotFound;
