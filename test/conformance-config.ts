import type { Stores } from "../src/conformance/stores.js";
import type { ConfigInput } from "../src/server/index.js";

/** What the servers of the conformance suite are called and have. */
export const STORES: Partial<Stores> = {
  others: { state: "other", lock: "other", sequencer: "other", configuration: "other" },
};

/** The configuration that STORES describes. */
export function conformanceConfig(): ConfigInput {
  const two = { default: {}, other: {} };
  return { state: two, lock: two, sequencer: two, configuration: two };
}
