import { runAfter } from "../lib/timer.js";
import type { Link } from "./link.js";

export interface AntiEntropyOptions {
  /** The mean time between two comparisons, in milliseconds; each one is up to a half shorter or longer. */
  everyMs: number;
  /** The time between two comparisons of a link without changes, in milliseconds. */
  idleMs: number;
  /** Called each time. */
  onTurn?: () => void;
}

/** Compares `links` with their peers, one after the other, if they may differ. Returns the function that stops it. */
export function runAntiEntropy(
  links: Set<Link>,
  { everyMs, idleMs, onTurn }: AntiEntropyOptions,
): () => void {
  let stop: () => void;
  const turn = () => {
    const nowMs = Date.now();
    const next = [...links].find((link) => link.isStale(nowMs, everyMs, idleMs));
    if (next) {
      // Moves it to the end of the set, so that the others come first next time.
      links.delete(next);
      links.add(next);
      next.advertise();
    }
    stop = runAfter(everyMs * (0.5 + Math.random()), turn);
    onTurn?.();
  };
  stop = runAfter(everyMs * (0.5 + Math.random()), turn);
  return () => stop();
}
