import { runAfter } from "../../../../lib/timer.js";
import type { GroupConsumers } from "./group-consumers.js";

/** How soon events that were published without a group are removed. */
const REMOVE_AFTER_MS = 1000;

/** How often the events of all topics without a group are removed: those of publishers that have failed. */
const REMOVE_ALL_EVERY_MS = 10 * 60_000;

/** The most topics that wait for removal. Events of others are removed with those of all topics. */
const MAX_NOTED = 10_000;

/** Removes events that were published to a topic without a group. Replicas store them: see createInterest(). */
export class StrayEvents {
  readonly #consumers: GroupConsumers;
  #noted = new Set<string>();
  #stopTimer: (() => void) | undefined;
  #stopRemovingAll: (() => void) | undefined;
  #isClosed = false;

  constructor(consumers: GroupConsumers) {
    this.#consumers = consumers;
    this.#scheduleAll();
  }

  /** Call after a publish to the topic with this subject. */
  published(subject: string): void {
    if (!this.#consumers.keepsStray || this.#consumers.hadGroup(subject)) return;
    if (this.#noted.size < MAX_NOTED) this.#noted.add(subject);
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#stopTimer?.();
    this.#stopRemovingAll?.();
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#stopTimer ??= runAfter(REMOVE_AFTER_MS, async () => {
      const subjects = this.#noted;
      this.#noted = new Set();
      // If the cluster cannot be reached, they are removed with those of all topics.
      await this.#consumers.removeStray(subjects).catch(() => {});
      this.#stopTimer = undefined;
      if (this.#noted.size > 0) this.#schedule();
    });
  }

  #scheduleAll(): void {
    // With jitter, so that servers that started together share the work.
    this.#stopRemovingAll = runAfter(REMOVE_ALL_EVERY_MS * (0.5 + Math.random()), async () => {
      if (this.#consumers.keepsStray) await this.#consumers.removeStray().catch(() => {});
      if (!this.#isClosed) this.#scheduleAll();
    });
  }
}
