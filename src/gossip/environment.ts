import { runAfter } from "../lib/timer.js";

/**
 * The time and the randomness of the gossip protocol. Its code takes them from nowhere else, so that a simulation can
 * run it in virtual time, and repeat each run.
 */
export interface Environment {
  /** The wall clock, in Unix milliseconds. It may be set back, or ahead. */
  nowMs(): number;
  /** A clock that is never set, in milliseconds from an arbitrary point: for durations. */
  monotonicMs(): number;
  /** Runs `task` after `delayMs`. Does not keep a Node process alive. Returns a function that stops it. */
  after(delayMs: number, task: () => void): () => void;
  /** A random number from 0 (inclusive) to 1 (exclusive). */
  random(): number;
}

/** The time and randomness of this process. */
export const processEnvironment: Environment = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: runAfter,
  random: () => Math.random(),
};
