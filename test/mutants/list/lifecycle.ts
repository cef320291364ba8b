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
    ["the Go name of the kind is not known", '["hellos", "hello"],', "", /by the Go runtime's names/],
    [
      "secrets can change",
      '["bindings", bindingSettings],',
      '["bindings", bindingSettings],\n  ["secrets", (metadata) => metadata],',
      /secrets cannot change/,
    ],
  ]),
  ...faultsOf("lifecycle", "services/lifecycle.ts", [
    ["the Go name of a pubsub is not known", '["pub_subs", "pubsub"],', "", /a pubsub takes its settings/],
    ["logs cannot change", '["logs", (metadata) => metadata],', "", /takes its retention/],
    [
      "a binding cannot be told its type",
      'if (metadata["type"] !== undefined && metadata["type"] !== type) {',
      'if (metadata["type"] !== undefined) {',
      /told its own type/,
    ],
    [
      "a binding can change its type",
      'if (metadata["type"] !== undefined && metadata["type"] !== type) {',
      'if (metadata["type"] === "never") {',
      /stays what it is/,
    ],
    [
      "kinds that are none are let be",
      "if (!kind) throw refuse(",
      "if (!kind) return {};\n      if (!kind) throw refuse(",
      /is none, and invalid/,
    ],
    [
      "what cannot change is let be",
      "if (!settings) throw refuse(",
      "if (!settings) return {};\n      if (!settings) throw refuse(",
      /cannot change at run time/,
    ],
  ]),
];
