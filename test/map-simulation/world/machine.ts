import type { Scheduler } from "./scheduler.js";

/** The Unix time of the machines' wall clocks when the simulation begins. */
const EPOCH_MS = Date.UTC(2026, 0, 1);

/** A task that waits until a paused process continues. */
type Held = { process: number; task: () => void; isTimer: boolean };

/**
 * A machine with its own clocks, on which one process runs at a time. All that happens to a process comes through
 * run(): its timers, what arrives from the network and from its engine. Thus a paused process gets nothing, and a
 * killed one never does anything again.
 */
export class Machine {
  readonly name: string;
  readonly scheduler: Scheduler;
  /** How many milliseconds its clocks advance in one millisecond. */
  readonly rate: number;
  readonly #startMs: number;
  /** How far the wall clock was set from the monotonic clock, in milliseconds. */
  wallOffsetMs = 0;
  /** The number of the process; a task of an earlier one does not run. Even: no process runs. */
  #process = 0;
  #isPaused = false;
  #held: Held[] = [];

  constructor(name: string, scheduler: Scheduler) {
    this.name = name;
    this.scheduler = scheduler;
    this.rate = scheduler.between(0.995, 1.005);
    this.#startMs = scheduler.between(0, 1e6);
  }

  /** The monotonic clock. */
  monotonicMs = (): number => this.#startMs + this.scheduler.nowMs * this.rate;

  /** The wall clock, as Unix time. */
  wallMs = (): number => Math.floor(EPOCH_MS + this.scheduler.nowMs * this.rate + this.wallOffsetMs);

  get isUp(): boolean {
    return this.#process % 2 === 1;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** The number of the running process: see run(). */
  get process(): number {
    return this.#process;
  }

  start(): void {
    if (!this.isUp) this.#process++;
  }

  /** Ends the process at once, as SIGKILL does. */
  kill(): void {
    if (this.isUp) this.#process++;
    this.#isPaused = false;
    this.#held = [];
  }

  /** Stops the process, as SIGSTOP does. Its clocks go on. */
  pause(): void {
    this.#isPaused = this.isUp;
  }

  /** Continues the process: either with the timers that are overdue, or with what has arrived in the meantime. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    const held = this.#held;
    this.#held = [];
    const timersFirst = this.scheduler.random() < 0.5;
    const inOrder = [...held.filter(({ isTimer }) => isTimer === timersFirst)];
    inOrder.push(...held.filter(({ isTimer }) => isTimer !== timersFirst));
    for (const { process, task, isTimer } of inOrder)
      this.scheduler.after(0, () => this.run(process, task, isTimer));
  }

  /** Runs a task of the process with this number: later if it is paused, never if it has ended. */
  run(process: number, task: () => void, isTimer = false): void {
    if (process !== this.#process) return;
    if (this.#isPaused) this.#held.push({ process, task, isTimer });
    else task();
  }

  /** Runs a task of the present process after `delayMs` of the machine's clock. Returns a function that cancels it. */
  after(delayMs: number, task: () => void): () => void {
    const process = this.#process;
    let isCanceled = false;
    const fire = () => {
      if (!isCanceled) task();
    };
    const cancel = this.scheduler.after(delayMs / this.rate, () => this.run(process, fire, true));
    return () => {
      isCanceled = true;
      cancel();
    };
  }
}
