// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const gossipMapMutants: readonly Mutant[] = [
  ...faultsOf("gossipMap", "services/gossip-map/hub.ts", [
    [
      "members are not told",
      "else link.changed(key);",
      "else link.knows(stored);",
      /the other members receive|is sent to the other members/,
    ],
    [
      "a writer is told what it wrote",
      "if (link === from) link.knows(stored);\n      else link.changed(key);",
      "link.changed(key);",
      /not sent what it has sent/,
    ],
  ]),
  ...faultsOf("gossipMap", "calls/validate/message-rules.ts", [
    [
      "sources may be empty",
      "rule(gossip.MessageSchema, { source: name, target: required });",
      "rule(gossip.MessageSchema, { target: required });",
      /no source/,
    ],
  ]),
  ...faultsOf("gossipMap", "services/gossip-map/clock-check.ts", [
    [
      "times far ahead are taken",
      "const isAhead = (timestamp: Uint8Array) => wallMsOf(timestamp) - nowMs > maxAheadMs;",
      "const isAhead = (timestamp: Uint8Array) => wallMsOf(timestamp) - nowMs > maxAheadMs * 1e6;",
      /far ahead/,
    ],
    [
      "no clock may be ahead",
      "const isAhead = (timestamp: Uint8Array) => wallMsOf(timestamp) - nowMs > maxAheadMs;",
      "const isAhead = (timestamp: Uint8Array) => wallMsOf(timestamp) > nowMs;",
      /a little ahead is put up with/,
    ],
    [
      "only entries are checked",
      "if (!first && !isAhead(clock)) return undefined;",
      "if (!first) return undefined;",
      /a clock at its end/,
    ],
  ]),
  ...faultsOf("gossipMap", "../gossip/digest-comparison.ts", [
    [
      "what is not advertised is not pushed",
      "else this.push(key);\n    }\n  }",
      "}\n  }",
      /receives everything|not advertised are pushed/,
    ],
    [
      "what is older is not answered",
      "else if (order < 0 && !isCut) this.push(key);",
      "",
      /older is answered with what is newer/,
    ],
  ]),
  ...faultsOf("gossipMap", "../gossip/link.ts", [
    [
      "requests are not answered",
      "if (this.#replica.get(key)) this.#outbox.send(key);",
      "void key;",
      /an UpdateRequest is answered/,
    ],
    [
      "what comes too late is not answered",
      "if (isOlder && !isEcho) this.#comparison.push(key);",
      "",
      /is answered with it/,
    ],
  ]),
  ...faultsOf("gossipMap", "services/gossip-map/maps.ts", [
    [
      "all maps are one",
      'const record = keyOf("gossip-maps", target.namespace, target.name);',
      'const record = keyOf("gossip-maps", "", "");',
      /maps are apart|several maps/,
    ],
  ]),
  ...faultsOf("gossipMap", "services/gossip-map.ts", [
    [
      "a stream has one map",
      'const prefix = keyPrefix("gossip", namespace, name);',
      'const at = "one";',
      /one stream may carry several/,
    ],
    [
      "each map is another source",
      "const maps = new GossipMaps(context, environment, member, peers);",
      'const maps = { join: (...of: Parameters<GossipMaps["join"]>) => new GossipMaps(context, environment, String(environment.random()), peers).join(...of) };',
      /is one source/,
    ],
  ]),
  ...faultsOf("gossipMap", "services/gossip-map/hub.ts", [
    [
      "timestamps are cut",
      "value: toBinary(MapValueSchema, value),",
      "value: toBinary(MapValueSchema, {\n        ...value,\n        ...(value.digest && { digest: { ...value.digest, timestamp: value.digest.timestamp.subarray(0, 8) } }),\n      }),",
      /timestamp is kept as it came/,
    ],
    [
      "tombstones of what is not known are not stored",
      "const isNewer = ([key, value]: Update) => this.#replica.takes(key, value);",
      "const isNewer = ([key, value]: Update) =>\n      this.#replica.takes(key, value) && !(value.digest?.tombstone && !this.#replica.get(key));",
      /stored for a key that is not known/,
    ],
  ]),
  ...faultsOf("gossipMap", "../gossip/outbox.ts", [
    [
      "there is no target",
      "return create(MessageSchema, { source, target, message });",
      'return create(MessageSchema, { source, message, ...(message.case === "update" && { target }) });',
      /source and target are always set/,
    ],
  ]),
  ...faultsOf("gossipMap", "../gossip/clock.ts", [
    [
      "clocks are compared without the member",
      "compareBytes(a.length === 0 ? ZERO : a, b.length === 0 ? ZERO : b);",
      "compareBytes(a.length === 0 ? ZERO : a.subarray(0, 8), b.length === 0 ? ZERO : b.subarray(0, 8));",
      /later member id wins/,
    ],
    [
      "the shorter one comes later",
      "return a.length - b.length;",
      "return b.length - a.length;",
      /that begin alike/,
    ],
  ]),
  ...faultsOf("gossipMap", "../gossip/timestamp-fault.ts", [
    [
      "what is malformed is a clock",
      'if (clock === undefined) return "must be',
      'if (timestamp.length > 99) return "must be',
      /a short timestamp/,
    ],
    [
      "what is malformed is a lifetime",
      'if (lifetimeOf(timestamp) === "malformed") {',
      "if (timestamp.length > 99) {",
      /a malformed lifetime/,
    ],
  ]),
  ...faultsOf("gossipMap", "../gossip/timestamp-suffix.ts", [
    [
      "the byte 0xFF has no place in a timestamp",
      "if (markAt < 0 || markAt === timestamp.length - 1) return undefined;",
      "if (markAt < 0) return undefined;",
      /unsigned byte order is the total order/,
    ],
  ]),
  ...faultsOf("gossipMap", "../gossip/version.ts", [
    [
      "a value wins over a tombstone",
      "return byTime || Number(a?.tombstone ?? false) - Number(b?.tombstone ?? false);",
      "return byTime || Number(b?.tombstone ?? false) - Number(a?.tombstone ?? false);",
      /tombstone wins over a value/,
    ],
    [
      "the lesser value wins",
      "return compareBytes(a.value, b.value);",
      "return compareBytes(b.value, a.value);",
      /greater value wins/,
    ],
  ]),
];
