// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const mapMutants: readonly Mutant[] = [
  ...faultsOf("map", "services/map/write.ts", [
    [
      "versions are not compared",
      "condition === undefined || version === condition;",
      "condition === undefined || version >= 0n;",
      /over another version/,
    ],
  ]),
  ...faultsOf("map", "services/map/partitions.ts", [
    [
      "keys are trimmed",
      "address.entriesPrefix + key]",
      "address.entriesPrefix + key.trim()]",
      /keys are opaque/,
    ],
  ]),
  ...faultsOf("map", "services/map/draft.ts", [
    [
      "versions do not count up",
      "const timestamp = highest([this.#timestamp, floor]) + 1n;",
      "const timestamp = highest([this.#timestamp, floor]) + 2n;",
      /one counter/,
    ],
  ]),
  ...faultsOf("map", "services/map/address.ts", [
    [
      "partitions are one",
      'return address([\n    header?.protocol?.namespace ?? "",',
      'return address([\n    "",',
      /name another part/,
    ],
  ]),
  ...faultsOf("map", "services/map/backup.ts", [
    [
      "older digests win",
      "if (!present || isNewer(entry, present))",
      "if (!present || !isNewer(entry, present))",
      /later timestamp stays/,
    ],
    [
      "older terms are taken",
      "if (term < draft.term || (own !== undefined && term <= own)) return false;",
      "",
      /older term/,
    ],
    [
      "deletions are not remembered",
      "draft.set(entry, isEntryTombstone(entry) ? TOMBSTONE_MS : undefined);",
      "isEntryTombstone(entry) ? draft.drop(entry.key) : draft.set(entry);",
      /deletion is remembered/,
    ],
  ]),
  ...faultsOf("map", "services/map/group.ts", [
    [
      "a backup answers",
      "if (primary !== undefined) throw notPrimaryError(primary);",
      "",
      /on a backup is unavailable/,
    ],
    [
      "the primary is not told",
      "facts: primary === undefined ? {} : { primary },",
      "facts: {},",
      /primary's address/,
    ],
  ]),
  ...faultsOf("map", "services/map.ts", [
    ["fairlead-if-absent is not heeded", 'return "absent";', "return undefined;", /fairlead-if-absent/],
    [
      "removed values are not told",
      "return { header: {}, ...(removed && { value: removed }) };",
      "return { header: {} };",
      /a removal counts as well|version 0 is no condition/,
    ],
  ]),
  ...faultsOf("map", "services/map/address.ts", [
    [
      "names run into each other",
      'entriesPrefix: keyPrefix("map", "entry", ...parts)',
      'entriesPrefix: keyPrefix("map", "entry", parts.join(""))',
      /do not run into each other/,
    ],
    [
      "partitions are two",
      "String(header?.partition ?? 0)",
      "String((header?.partition ?? 0) % 2)",
      /any number above 0/,
    ],
  ]),
  ...faultsOf("map", "services/map/draft.ts", [
    [
      "the counter has no end",
      "if (timestamp > MOST_VERSION) {",
      "if (timestamp < 0n) {",
      /counter is at its end/,
    ],
  ]),
  ...faultsOf("map", "services/map.ts", [
    [
      "answers are errors",
      "return { header: {}, ...(value && { value }) };",
      "return { header: { status: ResponseStatus.ERROR }, ...(value && { value }) };",
      /RESPONSE and OK/,
    ],
    [
      "fairlead-if-absent may be anything",
      'if (text !== "true") throw',
      'if (text === "never") throw',
      /is true or false/,
    ],
  ]),
  ...faultsOf("map", "services/map/write.ts", [
    [
      "the right version is another",
      "condition === undefined || version === condition;",
      "condition === undefined || version + 1n === condition;",
      /over the version that is there/,
    ],
  ]),
  ...faultsOf("map", "services/map/backup.ts", [
    [
      "new entries are not taken",
      "if (!present || isNewer(entry, present))",
      "if (present && isNewer(entry, present))",
      /backed up are there/,
    ],
    [
      "empty requests are refused",
      "if (entries.length === 0) return true;",
      "if (entries.length === 0) return false;",
      /also for an empty one/,
    ],
  ]),
];
