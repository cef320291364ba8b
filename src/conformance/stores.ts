/** What the server under test calls its stores, and what else it was configured with for the suite. */
export interface Stores {
  /** The state store. */
  state: string;
  /** The lock store. */
  lock: string;
  /** The sequencer store. */
  sequencer: string;
  /** The pubsub. */
  pubsub: string;
  /** The file store. */
  files: string;
  /** The configuration store. */
  configuration: string;
  /** The instance that SayHello names, and its greeting. */
  hello: { name: string; greeting: string };
  /** Another greeting, which the suite may change, and what it is. */
  spareHello?: { name: string; greeting: string };
  /** A second store of each of these kinds. */
  others?: { state: string; lock: string; sequencer: string; configuration: string };
  /** A pubsub that delivers an event `maxDeliveries` times at most, with waits from `retryMinMs` to `retryMaxMs`. */
  quickPubsub?: { name: string; maxDeliveries: number; retryMinMs: number; retryMaxMs: number };
  /** A key of the sequencer whose ids are all greater than `value`, a decimal number. */
  biggerThan?: { key: string; value: string };
  /** A binding that answers with what it was sent. */
  echo?: string;
  /** A service and a binding that lead to an app which answers with what it was asked; see `mirrored()`. */
  mirror?: { service: string; binding: string };
  /** A secret that may be read, and what it holds. */
  secret?: { store: string; key: string; value: string };
  /** A protocol group of maps whose primary is at `primary`, somewhere else. */
  backupGroup?: { namespace: string; name: string; primary: string };
  /** A protocol group of maps that is configured with this server as its primary, in the term `term`. */
  ledGroup?: { namespace: string; name: string; term: number };
  /** A log that keeps its last `maxRecords` records. */
  shortLog?: { name: string; maxRecords: number };
}

/** As `fairlead serve` has them without a components file. */
export const DEFAULT_STORES: Stores = {
  state: "default",
  lock: "default",
  sequencer: "default",
  pubsub: "default",
  files: "default",
  configuration: "default",
  hello: { name: "helloworld", greeting: "Hello" },
  echo: "echo",
};
