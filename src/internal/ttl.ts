/** `ttlMs` in the whole seconds of the wire, rounded up; 0 clears. `field` names it in the error. */
export function wholeSeconds(ttlMs: number, what: string, { least }: { least: 0 | 1 }): number {
  if (Number.isFinite(ttlMs) && ttlMs >= 0 && (least === 0 || ttlMs > 0)) return Math.ceil(ttlMs / 1000);
  throw new RangeError(
    `Cannot ${what}: ttlMs must be ${least === 0 ? "0 or more" : "above 0"}, got ${ttlMs}`,
  );
}
