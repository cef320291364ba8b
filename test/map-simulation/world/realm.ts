import { createRequire } from "node:module";
import type { Machine } from "./machine.js";

/** What a machine runs: see program.ts. */
export type Program = typeof import("../program.js");

/** The globals that differ between the machines. The code of a machine sees its own instead of Node's. */
const SHADOWED = [
  "setTimeout",
  "clearTimeout",
  "setInterval",
  "clearInterval",
  "setImmediate",
  "performance",
  "Date",
  "Math",
  "crypto",
  "fetch",
] as const;

/**
 * The program in an instance of its own, with its own module state, whose time and randomness are those of a machine.
 * Loading one takes long, so that the simulations of a process use it one after the other.
 */
export class Realm {
  readonly program: Program;
  /** The machine that the program runs on. */
  machine: Machine | undefined;

  constructor(source: RealmSource) {
    this.program = source(createRequire(import.meta.url), ...SHADOWED.map((name) => this.#globals[name]));
  }

  /** The machine. Before the first simulation, while the modules load, there is none. */
  get #now(): Machine {
    if (!this.machine) throw new Error("code of a machine ran outside of a simulation");
    return this.machine;
  }

  readonly #after = (task: (...args: unknown[]) => void, delayMs = 0, ...args: unknown[]) => {
    const cancel = this.#now.after(Math.max(1, delayMs), () => task(...args));
    const timer = { cancel, unref: () => timer, ref: () => timer, hasRef: () => true };
    return timer;
  };

  readonly #clear = (timer?: { cancel(): void }): void => timer?.cancel();

  readonly #globals: Record<(typeof SHADOWED)[number], unknown> = {
    setTimeout: this.#after,
    clearTimeout: this.#clear,
    setInterval: () => {
      throw new Error("no code of a machine uses setInterval()");
    },
    clearInterval: this.#clear,
    setImmediate: (task: (...args: unknown[]) => void, ...args: unknown[]) => this.#after(task, 0, ...args),
    performance: { now: () => this.#now.monotonicMs() },
    Date: dateOf(() => this.#now.wallMs()),
    Math: Object.create(Math, { random: { value: () => this.#now.scheduler.random() } }),
    crypto: {
      getRandomValues: (bytes: Uint8Array) => {
        for (let i = 0; i < bytes.length; i++) bytes[i] = this.#now.scheduler.random() * 256;
        return bytes;
      },
    },
    fetch: () => Promise.reject(new Error("the machines of the simulation have no fetch()")),
  };
}

/** The compiled program: a function of `require` and of the shadowed globals. */
export type RealmSource = (require: NodeJS.Require, ...globals: unknown[]) => Program;

/** Compiles the bundled program, which assigns its exports to `program`. */
export const compileRealm = (code: string): RealmSource =>
  new Function("require", ...SHADOWED, `${code}\nreturn program;`) as RealmSource;

const dateOf = (nowMs: () => number): typeof Date =>
  class extends Date {
    constructor(...args: unknown[]) {
      super(...((args.length === 0 ? [nowMs()] : args) as [number]));
    }

    static override now = nowMs;
  } as typeof Date;
