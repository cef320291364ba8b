// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const secretsMutants: readonly Mutant[] = [
  ...faultsOf("secrets", "services/secrets.ts", [
    [
      "missing secrets are empty",
      'if (value === undefined) throw notFound("secret", key);',
      'if (value === undefined) return { data: { [key]: "" } };',
      /not_found/,
    ],
    [
      "bulk reads have one name for all",
      '{ secrets: { [name]: store.get(name) ?? "" } }',
      '{ secrets: { value: store.get(name) ?? "" } }',
      /GetBulkSecret/,
    ],
  ]),
  ...faultsOf("secrets", "services/secrets.ts", [
    [
      "secrets have no name",
      "return { data: { [key]: value } };",
      "return { data: { value } };",
      /gives the value by its name/,
    ],
  ]),
];
