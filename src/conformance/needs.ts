/** The needs of cases, each with the reason that is given when a case is skipped for it. */
export const NEEDS = {
  extensions: "its answers carry no fairlead-server header: it has none of Fairlead's extensions",
  lifecycle: "it has no spec.proto.runtime.v1.Lifecycle",
  map: "it has no atomix.pb.map.MapService",
  "gossip map": "it has no atomix.map.GossipMapService",
  log: "it has no atomix.log.LogService",
  upload: "this way carries no stream from the client",
  duplex: "this way carries no stream both ways at the same time",
  "second client": "this run has one client only",
  time: "this run does not wait for time to pass",
  clock: "its clock cannot be moved from here",
  app: "no app can dial in to it on this way",
  "other stores": "the configuration names no second store of the kind (`others`)",
  "quick pubsub": "the configuration names no pubsub with few and quick deliveries (`quickPubsub`)",
  "bigger than": "the configuration names no key whose ids have a floor (`biggerThan`)",
  "echo binding": "the configuration names no echo binding (`echo`)",
  mirror: "the configuration names no service and binding that lead to a mirror (`mirror`)",
  secrets: "the configuration names no secret that may be read (`secret`)",
  "backup group": "the configuration names no map group that it is a backup of (`backupGroup`)",
  "led group": "the configuration names no map group that it is the primary of, with a term (`ledGroup`)",
  "spare hello": "the configuration names no greeting that may be changed (`spareHello`)",
  "short log": "the configuration names no log that keeps few records (`shortLog`)",
} as const;

/** A requirement of a case on the server, the transport or the run. */
export type Need = keyof typeof NEEDS;
