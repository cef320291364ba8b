// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const helloMutants: readonly Mutant[] = [
  ...faultsOf("hello", "services/hello.ts", [
    ["the comma is missing", "`${greeting}, ${name}`", "`${greeting} ${name}`", /greeting and the name/],
    ["data is not echoed", "...(data && { data }) };", "};\n      void data;", /is echoed/],
  ]),
  ...faultsOf("hello", "services/hello.ts", [
    [
      "the comma comes without a name",
      'name === "" ? greeting : `${greeting}, ${name}`',
      "`${greeting}, ${name}`",
      /without a name/,
    ],
    [
      "there is always data",
      "...(data && { data }) };",
      'data: data ?? { typeUrl: "x", value: new Uint8Array() } };',
      /without data none/,
    ],
  ]),
];
