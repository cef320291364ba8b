import { CONFIGURED_STORES, type ConfiguredStore } from "../server/primitives.js";

/** The primitives of which the suite has cases with two stores. */
export const WITH_TWO_STORES = [
  "state",
  "lock",
  "sequencer",
  "configuration",
] as const satisfies ConfiguredStore[];

/** The names of the stores of the server under test, and its other components for the suite. */
export interface Stores extends Record<ConfiguredStore, string> {
  /** The instance that SayHello names, and its greeting. */
  hello: { name: string; greeting: string };
  /** Another instance whose greeting the suite may change, and its greeting. */
  spareHello?: { name: string; greeting: string };
  /** A second store of each of these kinds. */
  others?: Record<(typeof WITH_TWO_STORES)[number], string>;
  /** A pubsub that delivers an event `maxDeliveries` times at most, with waits from `retryMinMs` to `retryMaxMs`. */
  quickPubsub?: { name: string; maxDeliveries: number; retryMinMs: number; retryMaxMs: number };
  /** A key of the sequencer whose ids are all greater than `value`, a decimal number. */
  biggerThan?: { key: string; value: string };
  /** A binding that returns the data that it receives. */
  echo?: string;
  /** A service and a binding that lead to an app that answers as mirrorResponse() does. */
  mirror?: { service: string; binding: string };
  /** A secret that the suite may read, and its value. */
  secret?: { store: string; key: string; value: string };
  /** A protocol group of maps whose primary is another server, at `primary`. */
  backupGroup?: { namespace: string; name: string; primary: string };
  /** A protocol group of maps of which the server is the primary, in the term `term`. */
  ledGroup?: { namespace: string; name: string; term: number };
  /** A log that keeps its last `maxRecords` records. */
  shortLog?: { name: string; maxRecords: number };
}

/** The same store name for each of `primitives`. */
export const storesNamed = <P extends ConfiguredStore>(
  primitives: readonly P[],
  name: string,
): Record<P, string> =>
  Object.fromEntries(primitives.map((primitive) => [primitive, name])) as Record<P, string>;

/** The stores of `fairlead serve` without a components file. */
export const DEFAULT_STORES: Stores = {
  ...storesNamed(CONFIGURED_STORES, "default"),
  hello: { name: "helloworld", greeting: "Hello" },
  echo: "echo",
};
