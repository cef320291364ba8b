/** The delays between retries: each one is random, below a bound that doubles with each failure, up to `maxMs`. */
export interface Backoff {
  /** The bound of the first delay, in milliseconds. */
  minMs: number;
  /** The highest bound, in milliseconds. */
  maxMs: number;
}

/**
 * The delay in milliseconds before the next retry after `failures` failures (1 or more). It has full jitter, so that
 * clients that failed at the same time do not retry at the same time.
 */
export function jitteredMs({ minMs, maxMs }: Backoff, failures: number, random = Math.random): number {
  return random() * Math.min(maxMs, minMs * 2 ** Math.min(failures - 1, 30));
}
