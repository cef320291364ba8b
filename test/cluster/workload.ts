import type { Fairlead } from "../../src/index.js";
import { sleep } from "../../src/rpc/sleep.js";
import type { Engine } from "../../src/server/index.js";
import type { Operation, Recorder } from "./operation.js";

/** One client, which runs all workloads at the same time. */
export interface Worker {
  /** Its name: "c0", "c1" and so on. */
  readonly name: string;
  readonly fairlead: Fairlead;
  /**
   * A client that retries nothing. For idempotent writes, which may be sent again: the first attempt can reach a server
   * after a later write, if that server had stopped.
   */
  readonly withoutRetry: Fairlead;
  /** The engine of the servers, opened by the client itself: for what no facade shows. */
  readonly engine: Engine;
  readonly record: Recorder;
  /** The next random number from 0 to 1. */
  chance(): number;
  /** What the delays between steps are multiplied with. */
  readonly pace: number;
  /** Aborts when no further operation may begin. */
  readonly stopped: AbortSignal;
  /** Aborts when followers and consumers end. */
  readonly ended: AbortSignal;
  /** Resolves when every client has opened its followers and consumers, so that none misses an operation. */
  allOpen(): Promise<void>;
}

/** Operations that a client repeats all the time, and what must hold for the history of all clients. */
export interface Workload {
  readonly name: string;
  /** Opens followers and consumers and resolves when they are open. They end when `ended` aborts. */
  open?(worker: Worker): Promise<void>;
  /** One step of one client. Steps are repeated until the run stops. */
  step(worker: Worker, number: number): Promise<void>;
  /** The delay between two steps, in milliseconds: random, up to twice this. */
  readonly paceMs: number;
  /** Reads the final state, through one client, when all others have stopped. */
  readFinal?(worker: Pick<Worker, "fairlead" | "record">): Promise<void>;
  /** Whether the followers and consumers have all that was acknowledged. */
  isComplete?(operations: readonly Operation[]): boolean;
  /** Throws an Error with what is wrong. */
  check(operations: readonly Operation[]): void;
}

/** The deadline of one call: mostly long enough for an election, sometimes not. */
export const deadline = ({ chance }: Pick<Worker, "chance">): { timeoutMs: number } => ({
  timeoutMs: chance() < 0.2 ? 500 + chance() * 2000 : 20_000,
});

/** A random one of `choices`. */
export const choose = <const T>({ chance }: Pick<Worker, "chance">, choices: readonly [T, ...T[]]): T =>
  choices[Math.floor(chance() * choices.length)] as T;

/** Runs all `workloads` of one client until the run stops, and then until all followers and consumers have ended. */
export async function runWorkloads(workloads: readonly Workload[], worker: Worker): Promise<void> {
  await Promise.all(workloads.map((workload) => workload.open?.(worker)));
  await worker.allOpen();
  await Promise.all(
    workloads.map(async ({ step, paceMs }) => {
      for (let number = 0; !worker.stopped.aborted; number++) {
        await step(worker, number);
        await sleep(worker.chance() * 2 * paceMs * worker.pace);
      }
    }),
  );
}
