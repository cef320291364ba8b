/** How long to wait before further tries: each wait is random, below a bound that doubles up to `maxMs`. */
export interface Backoff {
  /** The bound of the first wait, in milliseconds. */
  minMs: number;
  maxMs: number;
}

/**
 * Milliseconds to wait before the next try after `failures` of them (1 or more). Full jitter: clients that failed
 * together do not come back together.
 */
export function jitteredMs({ minMs, maxMs }: Backoff, failures: number): number {
  return Math.random() * Math.min(maxMs, minMs * 2 ** Math.min(failures - 1, 30));
}
