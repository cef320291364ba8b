// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const lifecycleMutants: readonly Mutant[] = [
  ...faultsOf("lifecycle", "services/lifecycle.ts", [
    [
      "nothing changes",
      "components.replace(kind, name, settings(metadata, name, components));",
      "settings(metadata, name, components);",
      /replaced for the next call|is none, and changes nothing/,
    ],
    [
      "the Go name of the greeting is not known",
      "hello === undefined ? rest : { greeting: hello, ...rest }",
      "hello === undefined ? rest : { hello, ...rest }",
      /under both names/,
    ],
    [
      "secrets can change",
      '["bindings", bindingSettings],',
      '["bindings", bindingSettings],\n  ["secrets", (metadata) => metadata],',
      /secrets cannot change/,
    ],
  ]),
];
