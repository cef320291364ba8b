import { runAfter } from "../lib/timer.js";
import type { Link } from "./link.js";

export interface TurnsOptions {
  /** How often one link is compared, in milliseconds; each time is up to a half shorter or longer. */
  everyMs: number;
  /** How often a link is compared that has not changed, in milliseconds. */
  idleMs: number;
  /** Called at each turn. */
  onTurn?: () => void;
}

/** Compares one of `links` with its peer after the other, those that may differ. Returns the way to stop. */
export function runAntiEntropy(links: Set<Link>, { everyMs, idleMs, onTurn }: TurnsOptions): () => void {
  let stop: () => void;
  const turn = () => {
    const nowMs = Date.now();
    const next = [...links].find((link) => link.isStale(nowMs, everyMs, idleMs));
    if (next) {
      // To the end of the line.
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
