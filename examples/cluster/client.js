import { createClient } from "fairlead";
import { createNodeTransport } from "fairlead/node";

const COUNTER = "cluster-example";

/**
 * Adds 1 to the counter until `signal` aborts, at the first of the servers `urls` that is there. `onCount` is called
 * with each new value. Returns how many increments were acknowledged, how many have an unknown outcome, and the longest
 * time between two acknowledgements.
 */
export async function count(urls, signal, onCount) {
  const fl = createClient(createNodeTransport(urls));
  const result = { acknowledged: 0, unknown: 0, longestGapMs: 0 };
  let lastMs = performance.now();
  while (!signal.aborted) {
    try {
      // Reads, adds, and writes only over what it read: clients on other servers do the same.
      const value = await fl.state().update(COUNTER, (value) => (value ?? 0) + 1, { timeoutMs: 15_000 });
      result.acknowledged++;
      onCount?.(value);
      result.longestGapMs = Math.max(result.longestGapMs, performance.now() - lastMs);
      lastMs = performance.now();
    } catch (error) {
      // The server was lost before it answered: the write may have happened or not.
      console.log(`outcome unknown: ${error.message}`);
      result.unknown++;
    }
  }
  await fl.close();
  return result;
}

/** The counter, as the server at `url` sees it. */
export async function readCount(url) {
  const fl = createClient(createNodeTransport(url));
  const entry = await fl.state().get(COUNTER);
  await fl.close();
  return entry?.value ?? 0;
}
