// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const gossipMapMutants: readonly Mutant[] = [
  ...faultsOf("gossip-map", "services/gossip-map/hub.ts", [
    ["members are not told", "else link.changed(key);", "else link.knows(stored);", /the others are told/],
    [
      "a writer is told what it wrote",
      "if (link === from) link.knows(stored);\n      else link.changed(key);",
      "link.changed(key);",
      /not told again/,
    ],
  ]),
  ...faultsOf("gossip-map", "guard.ts", [
    [
      "sources may be empty",
      "rule(gossip.MessageSchema, { source: name, target: required });",
      "rule(gossip.MessageSchema, { target: required });",
      /no source/,
    ],
    [
      "times far ahead are taken",
      "const fault = timestampFault(value as Uint8Array, Date.now());",
      "const fault = timestampFault(value as Uint8Array, Date.now() * 2);",
      /far ahead/,
    ],
  ]),
];
