import type { Stores } from "../src/conformance/stores.js";
import type { ConfigInput } from "../src/server/index.js";

/** What the servers of the conformance suite are called and have. */
export const STORES: Partial<Stores> = {
  others: { state: "other", lock: "other", sequencer: "other", configuration: "other" },
  quickPubsub: { name: "quick", maxDeliveries: 4, retryMinMs: 10, retryMaxMs: 25 },
  shortLog: { name: "conformance-short", maxRecords: 3 },
  biggerThan: { key: "conformance-floor", value: "9007199254740993" },
};

/** The configuration that STORES describes. */
export function conformanceConfig(): ConfigInput {
  const two = { default: {}, other: {} };
  return {
    state: two,
    lock: two,
    sequencer: { default: { biggerThan: { "conformance-floor": "9007199254740993" } }, other: {} },
    configuration: two,
    pubsub: { default: {}, quick: { maxDeliveries: 4, retryMinMs: 10, retryMaxMs: 25 } },
    logs: { "conformance-short": { maxRecords: 3 } },
  };
}
