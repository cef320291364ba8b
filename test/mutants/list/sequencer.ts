// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const sequencerMutants: readonly Mutant[] = [
  ...faultsOf("sequencer", "services/sequencer.ts", [
    [
      "ids begin at 0",
      "return { first: base + 1n, end: last + 1n };",
      "return { first: base, end: last };",
      /the first id is 1/,
    ],
    ["STRONG is WEAK", "if (!strong && count === undefined)", "if (count === undefined)", /STRONG/],
    [
      "the default is STRONG",
      "const strong = options?.increment === Increment.STRONG;",
      "const strong = (options?.increment ?? Increment.STRONG) === Increment.STRONG;",
      /the default is WEAK/,
    ],
    [
      "blocks are not confirmed",
      "if (count !== undefined) responseHeader.set(ID_COUNT_HEADER, String(count));",
      "",
      /fairlead-id-count confirms/,
    ],
    ["blocks have one id", "least: count ?? 1n, most: count ?? 1n", "least: 1n, most: 1n", /block/],
    [
      "the floor is forgotten",
      "const floor = Object.hasOwn(biggerThan, key) ? (biggerThan[key] ?? 0n) : 0n;",
      "const floor = 0n;\n      void biggerThan;",
      /with a floor/,
    ],
    [
      "any count will do",
      "if (/^[1-9]\\d{0,5}$/.test(count) && Number(count) <= MOST_IDS) return BigInt(count);",
      "if (/^\\d+$/.test(count)) return BigInt(count);",
      /the count "0"/,
    ],
  ]),
  ...faultsOf("sequencer", "services/sequencer.ts", [
    [
      "WEAK ids come again",
      "this.#segment = { first: id + 1n, end };",
      "this.#segment = { first: id, end };",
      /(WEAK|no guarantee) ids of/,
    ],
    [
      "WEAK ids begin at 2",
      "const id = first > floor ? first : floor + 1n;",
      "const id = (first > floor ? first : floor + 1n) + 1n;",
      /(WEAK|no guarantee) the first id/,
    ],
    ["STRONG ids come again", "last = base + (most < room ? most : room);", "last = base;", /STRONG ids of/],
    [
      "STRONG ids are another sequence",
      'const at = keyOf("sequencer", storeName, key);',
      'const at = keyOf("sequencer", storeName, options?.increment === Increment.STRONG ? `${key}!` : key);',
      /greater than every WEAK|unique together/,
    ],
    [
      "metadata that is not known is refused",
      "const count = countOf(metadata);",
      'for (const name of Object.keys(metadata)) if (name !== "count") throw invalid("metadata", name, "is not known");\n      const count = countOf(metadata);',
      /metadata that is not known/,
    ],
  ]),
];
