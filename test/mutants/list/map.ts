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
      "draft.set(entry, isTombstone(entry) ? TOMBSTONE_MS : undefined);",
      "isTombstone(entry) ? draft.drop(entry.key) : draft.set(entry);",
      /deletion is remembered/,
    ],
  ]),
  ...faultsOf("map", "services/map/group.ts", [
    [
      "a backup answers",
      "if (primary !== undefined) throw notPrimary(primary);",
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
];
