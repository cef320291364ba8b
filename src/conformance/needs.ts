/** The needs of cases, each with the reason that is given when a case is skipped for it. */
export const NEEDS = {
  extensions: "the server has none of Fairlead's extensions: its responses lack the header fairlead-server",
  lifecycle: "the server does not implement spec.proto.runtime.v1.Lifecycle",
  map: "the server does not implement atomix.pb.map.MapService",
  "gossip map": "the server does not implement atomix.map.GossipMapService",
  log: "the server does not implement atomix.log.LogService",
  upload: "this transport carries no client streams",
  duplex: "this transport carries no bidirectional streams",
  "second client": "this run has only one client",
  time: "this run does not wait for time to pass",
  clock: "the server's clock cannot be moved from here",
  app: "apps cannot dial in to the server over this transport",
  "other stores": "the configuration has no second store of the kind (`others`)",
  "quick pubsub": "the configuration has no pubsub with few and quick deliveries (`quickPubsub`)",
  "bigger than": "the configuration has no sequencer key with a minimum id (`biggerThan`)",
  "echo binding": "the configuration has no echo binding (`echo`)",
  mirror: "the configuration has no service and binding that lead to a mirror (`mirror`)",
  secrets: "the configuration has no secret that the suite may read (`secret`)",
  "backup group": "the configuration has no map group of which the server is a backup (`backupGroup`)",
  "led group": "the configuration has no map group of which the server is the primary (`ledGroup`)",
  "spare hello": "the configuration has no greeting that the suite may change (`spareHello`)",
  "short log": "the configuration has no log that keeps few records (`shortLog`)",
} as const;

/** A requirement of a case on the server, the transport or the run. */
export type Need = keyof typeof NEEDS;
