// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const lifecycleMutants: readonly Mutant[] = [
  ...faultsOf("lifecycle", "services/lifecycle.ts", [
    [
      "nothing changes",
      "await changes.apply(kind, name, change(metadata, name, components));",
      "change(metadata, name, components);",
      /replaced for the next call|is none, and changes nothing/,
    ],
    [
      "the Go name of the greeting is not known",
      "hello === undefined ? rest : { greeting: hello, ...rest }",
      "hello === undefined ? rest : { hello, ...rest }",
      /under both names/,
    ],
    ["secrets can change", "secrets: undefined,", "secrets: asGiven,", /secrets cannot change/],
  ]),
  ...faultsOf("lifecycle", "primitives.ts", [
    [
      "the Go name of the kind is not known",
      'aliases: ["hellos"],',
      "aliases: [],",
      /by the Go runtime's names/,
    ],
    [
      "the Go name of a pubsub is not known",
      'aliases: ["pub_subs"],',
      "aliases: [],",
      /a pubsub takes its settings/,
    ],
  ]),
  ...faultsOf("lifecycle", "services/lifecycle.ts", [
    ["logs cannot change", "logs: asGiven,", "logs: undefined,", /takes its retention/],
    [
      "a binding cannot be told its type",
      'if (metadata["type"] !== undefined && metadata["type"] !== type) {',
      'if (metadata["type"] !== undefined) {',
      /given its own type/,
    ],
    [
      "a binding can change its type",
      'if (metadata["type"] !== undefined && metadata["type"] !== type) {',
      'if (metadata["type"] === "never") {',
      /stays what it is/,
    ],
    [
      "kinds that are none are let be",
      "if (!kind)\n        throw refuse(",
      "if (!kind) return {};\n      if (!kind)\n        throw refuse(",
      /is none, and invalid/,
    ],
    [
      "what cannot change is let be",
      "if (!change) throw refuse(",
      "if (!change) return {};\n      if (!change) throw refuse(",
      /cannot change at run time/,
    ],
  ]),
];
