import type { Subscription } from "@nats-io/transport-node";
import { delay, runAfter } from "../../../../lib/timer.js";
import { fromUtf8, utf8 } from "../../../../lib/utf8.js";
import { logDroppedEvents } from "../../shared/log-dropped-events.js";
import type { JetStreamSession } from "../session.js";
import type { DurableGroupState, GroupConsumers } from "./group-consumers.js";
import type { GroupName } from "./group-names.js";

/** How often the groups are checked: this part of the shorter time that they are kept, within bounds. */
const CHECKS_PER_IDLE_TIME = 8;
const MIN_CHECK_MS = 25;
const MAX_CHECK_MS = 15 * 60_000;

/** Between the notice of a removal and the removal, in which every server can say that it has consumers. */
const NOTICE_MS = 500;

/** A server that joins a group under removal waits for its end, at most this long. */
const MAX_REMOVAL_MS = 4 * NOTICE_MS;

/** The most groups in one message: far below the smallest max_payload. */
const MAX_NAMES = 1000;

/** A message between servers. Groups have the names of their consumers. */
type Notice =
  /** The sender has consumers in these groups. */
  | { type: "present"; groups: string[] }
  /** The sender removes the group, unless a server has consumers in it. */
  | { type: "removing"; group: string }
  /** The group was removed, or is kept. */
  | { type: "settled"; group: string };

interface IdleOptions {
  session: JetStreamSession;
  consumers: GroupConsumers;
  /** The bounds of the engine. */
  groupIdleMs: number;
  groupBacklogIdleMs: number;
  /** The groups with local consumers. */
  present: () => Iterable<GroupName>;
}

/**
 * Removes groups that have no consumer on any server for too long. Servers tell each other in which groups they have
 * consumers; each server measures the time for itself, from its start on. A removal is announced first, so that a
 * server with a consumer can keep the group, and one that joins waits until it can create the group again.
 */
export class IdleGroups {
  readonly #options: IdleOptions;
  readonly #subject: string;
  readonly #subscription: Subscription;
  /** When each group was in use last, as far as this server knows. */
  readonly #usedMs = new Map<string, number>();
  /** Groups under removal, by any server. */
  readonly #removals = new Map<string, { ended: Promise<void>; end: () => void }>();
  #stopTimer: (() => void) | undefined;

  constructor(options: IdleOptions) {
    this.#options = options;
    const { nc, name } = options.session;
    this.#subject = `${name}.s.topics`;
    this.#subscription = nc.subscribe(this.#subject, {
      callback: (error, { data }) => {
        if (!error) this.#onNotice(JSON.parse(fromUtf8(data)) as Notice);
      },
    });
    this.#schedule();
  }

  /** Call before a consumer joins. Resolves when no server removes the group. */
  async join({ consumer }: GroupName): Promise<void> {
    this.#use(consumer);
    this.#tell({ type: "present", groups: [consumer] });
    await this.#removals.get(consumer)?.ended;
  }

  /** Call when the last local consumer of a group has left. */
  leave({ consumer }: GroupName): void {
    this.#use(consumer);
    this.#tell({ type: "present", groups: [consumer] });
  }

  close(): void {
    this.#stopTimer?.();
    this.#subscription.unsubscribe();
    for (const { end } of this.#removals.values()) end();
  }

  #use(consumer: string): void {
    this.#usedMs.set(consumer, performance.now());
  }

  #tell(notice: Notice): void {
    const { nc } = this.#options.session;
    if (!nc.isClosed()) nc.publish(this.#subject, utf8(JSON.stringify(notice)));
  }

  #onNotice(notice: Notice): void {
    if (notice.type === "present") for (const group of notice.groups) this.#use(group);
    else if (notice.type === "settled") this.#removals.get(notice.group)?.end();
    else if (notice.type === "removing") this.#onRemoving(notice.group);
  }

  #onRemoving(group: string): void {
    for (const { consumer } of this.#options.present()) {
      if (consumer === group) this.#tell({ type: "present", groups: [group] });
    }
    if (this.#removals.has(group)) return;
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const stop = runAfter(MAX_REMOVAL_MS, () => end());
    void ended.then(() => {
      stop();
      this.#removals.delete(group);
    });
    this.#removals.set(group, { ended, end });
  }

  #schedule(): void {
    const { groupIdleMs, groupBacklogIdleMs } = this.#options;
    const keptMs = Math.min(groupIdleMs, groupBacklogIdleMs);
    if (keptMs === Number.POSITIVE_INFINITY) return;
    const everyMs = Math.min(MAX_CHECK_MS, Math.max(MIN_CHECK_MS, keptMs / CHECKS_PER_IDLE_TIME));
    // With jitter, so that servers that started together do not remove the same groups at once.
    this.#stopTimer = runAfter(everyMs * (0.75 + Math.random() / 2), () => {
      this.#check()
        .catch(() => {}) // The cluster cannot be reached: the next check comes.
        .finally(() => {
          if (!this.#subscription.isClosed()) this.#schedule();
        });
    });
  }

  async #check(): Promise<void> {
    const present = [...this.#options.present()].map(({ consumer }) => consumer);
    for (let i = 0; i < present.length; i += MAX_NAMES) {
      this.#tell({ type: "present", groups: present.slice(i, i + MAX_NAMES) });
    }
    for (const consumer of present) this.#use(consumer);
    const groups = await this.#options.consumers.list();
    const names = new Set(groups.map(({ name }) => name.consumer));
    for (const known of this.#usedMs.keys()) if (!names.has(known)) this.#usedMs.delete(known);
    for (const group of groups) {
      if (group.isAwaited || !this.#usedMs.has(group.name.consumer)) this.#use(group.name.consumer);
    }
    const idle = groups.filter((group) => this.#isIdle(group) && !this.#removals.has(group.name.consumer));
    await Promise.all(idle.map(({ name }) => this.#remove(name)));
  }

  #isIdle({ name, events, isAwaited }: DurableGroupState): boolean {
    const { groupIdleMs, groupBacklogIdleMs } = this.#options;
    const idleMs = performance.now() - (this.#usedMs.get(name.consumer) ?? Number.POSITIVE_INFINITY);
    const keptMs = events === 0 ? Math.min(groupIdleMs, groupBacklogIdleMs) : groupBacklogIdleMs;
    return !isAwaited && idleMs > keptMs;
  }

  async #remove(name: GroupName): Promise<void> {
    const { session, consumers } = this.#options;
    this.#tell({ type: "removing", group: name.consumer });
    try {
      await delay(NOTICE_MS, session.closing);
      const state = await consumers.state(name);
      if (!state || !this.#isIdle(state) || this.#subscription.isClosed()) return;
      if (await consumers.remove(name)) logDroppedEvents(session.log, name.topic, name.group, state.events);
    } finally {
      this.#tell({ type: "settled", group: name.consumer });
    }
  }
}
