import { setImmediate } from "node:timers/promises";
import { Heap } from "../../../src/lib/heap.js";
import { randomFrom } from "../../../src/lib/seeded-random.js";

/** A task and the virtual time at which it runs. Tasks of the same time run in the order in which they were added. */
type Task = { atMs: number; number: number; run: () => void; isCanceled: boolean };

/** The virtual time of one simulation, in milliseconds, and the tasks that run in it, one at a time. */
export class Scheduler {
  readonly #tasks = new Heap<Task>((a, b) => a.atMs - b.atMs || a.number - b.number);
  #added = 0;
  #nowMs = 0;
  /** The random numbers of the simulation, from 0 to 1. */
  readonly random: () => number;

  constructor(seed: number) {
    this.random = randomFrom(seed);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** A random number from `fromMs` to `toMs`. */
  between(fromMs: number, toMs: number): number {
    return fromMs + this.random() * (toMs - fromMs);
  }

  /** A random one of `choices`. */
  pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.random() * choices.length)] as T;
  }

  /** Runs `run` after `delayMs`. Returns a function that cancels it. */
  after(delayMs: number, run: () => void): () => void {
    const task = { atMs: this.#nowMs + Math.max(0, delayMs), number: this.#added++, run, isCanceled: false };
    this.#tasks.push(task);
    return () => {
      task.isCanceled = true;
    };
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.after(delayMs, resolve));
  }

  /** Runs the tasks in their order until `isDone` returns true. Fails if none is left before that. */
  async runUntil(isDone: () => boolean): Promise<void> {
    while (!isDone()) {
      const task = this.#tasks.pop();
      if (!task) throw new Error(`nothing can happen any more at ${this.#nowMs} ms of virtual time`);
      if (task.isCanceled) continue;
      this.#nowMs = Math.max(this.#nowMs, task.atMs);
      task.run();
      // Runs every microtask, and so everything that follows from this task at this moment.
      await setImmediate();
    }
  }
}
