import type { Environment } from "./environment.js";
import type { Link } from "./link.js";

export interface AntiEntropyOptions {
  environment: Environment;
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
  { environment, everyMs, idleMs, onTurn }: AntiEntropyOptions,
): () => void {
  let stop: () => void;
  const turn = () => {
    const nowMs = environment.monotonicMs();
    const next = [...links].find((link) => link.isStale(nowMs, everyMs, idleMs));
    if (next) {
      // Moves it to the end of the set, so that the others come first next time.
      links.delete(next);
      links.add(next);
      next.advertise();
    }
    scheduleTurn();
    onTurn?.();
  };
  const scheduleTurn = () => {
    stop = environment.after(everyMs * (0.5 + environment.random()), turn);
  };
  scheduleTurn();
  return () => stop();
}
