import type { Environment } from "../../../src/gossip/environment.js";
import { Heap } from "../../../src/lib/heap.js";
import type { Random } from "./random.js";

/** The wall clock's time at the beginning of each run. */
const START_MS = Date.UTC(2026, 0, 1);

interface ScheduledTask {
  atMicros: number;
  order: number;
  run: (() => void) | undefined;
}

/** Resolves when no promise has a reaction left to run: Node runs them all before it comes to an immediate. */
const promisesToSettle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Virtual time: runs tasks in the order of their times, and lets promises settle after each. */
export class Scheduler {
  readonly #tasks = new Heap<ScheduledTask>((a, b) => a.atMicros - b.atMicros || a.order - b.order);
  #nowMicros = 0;
  #order = 0;

  /** The virtual time since the beginning of the run, in milliseconds. */
  get nowMs(): number {
    return this.#nowMicros / 1000;
  }

  /** The true Unix time, which no process knows, in milliseconds. */
  get trueMs(): number {
    return START_MS + this.nowMs;
  }

  /** How many tasks were scheduled so far. */
  get scheduled(): number {
    return this.#order;
  }

  /** Runs `task` after `delayMs`. Returns a function that cancels it. */
  after(delayMs: number, task: () => void): () => void {
    // Whole microseconds, at least one: a delay that rounding makes zero would run for ever at the same time.
    const delayMicros = Math.max(1, Math.ceil(delayMs * 1000));
    const scheduled: ScheduledTask = {
      atMicros: this.#nowMicros + delayMicros,
      order: this.#order++,
      run: task,
    };
    this.#tasks.push(scheduled);
    return () => {
      scheduled.run = undefined;
    };
  }

  /** Runs all tasks up to the time `untilMs`. Calls `afterEach` when the promises after a task have settled. */
  async run(untilMs: number, afterEach: () => void): Promise<void> {
    const untilMicros = Math.round(untilMs * 1000);
    await promisesToSettle();
    for (;;) {
      const next = this.#tasks.peek();
      if (!next || next.atMicros > untilMicros) break;
      this.#tasks.pop();
      if (!next.run) continue;
      this.#nowMicros = next.atMicros;
      next.run();
      await promisesToSettle();
      afterEach();
    }
    this.#nowMicros = Math.max(this.#nowMicros, untilMicros);
  }
}

/** The time and randomness of one simulated process. After kill() nothing of the process runs by a timer any more. */
export class SimulatedProcess implements Environment {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  #isDead = false;
  /** How far its wall clock is ahead, in milliseconds. */
  skewMs: number;

  constructor(scheduler: Scheduler, random: Random, skewMs: number) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.skewMs = skewMs;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  // Not methods: code may take them from the object.
  readonly nowMs = (): number => Math.floor(START_MS + this.#scheduler.nowMs + this.skewMs);

  readonly monotonicMs = (): number => this.#scheduler.nowMs;

  readonly after = (delayMs: number, task: () => void): (() => void) =>
    this.#scheduler.after(delayMs, () => {
      if (!this.#isDead) task();
    });

  readonly random = (): number => this.#random.next();

  /** Resolves after `delayMs`; never if the process is killed meanwhile. */
  delay(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.after(delayMs, resolve));
  }

  kill(): void {
    this.#isDead = true;
  }
}
