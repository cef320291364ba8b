/** The rate of `call` with `callers` at the same time, per second. */
export async function rate(ms: number, callers: number, call: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  let calls = 0;
  const caller = async () => {
    for (let i = 0; i % 8 > 0 || performance.now() - began < ms; i++) {
      await call();
      calls++;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return (calls * 1000) / (performance.now() - began);
}

/** The mean of rates, in thousands. */
export const perSecond = (rates: readonly number[]): string => {
  const mean = rates.reduce((sum, one) => sum + one, 0) / rates.length;
  return mean < 1000 ? `${Math.round(mean)} /s` : `${Math.round(mean / 100) / 10} k/s`;
};
