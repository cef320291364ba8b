// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const configurationMutants: readonly Mutant[] = [
  ...faultsOf("configuration", "services/configuration.ts", [
    [
      "labels do not count",
      "group || DEFAULT, label || DEFAULT);",
      "group || DEFAULT, label ? DEFAULT : DEFAULT);",
      /group, label and app id/,
    ],
    [
      "empty content is stored",
      'if (item.content === "") writes',
      'if (item.content === "\\0") writes',
      /empty content deletes/,
    ],
    ["deletions are not marked", 'metadata: { deleted: "true" }', "metadata: {}", /deletion is the item/],
    [
      "current values are not told",
      "yield response(request, present.map(itemOf));",
      "yield response(request, []);",
      /current values come first/,
    ],
    [
      "app ids are not told",
      "=> ({ storeName, appId, items })",
      '({ storeName, appId: "", items })',
      /app id as they were asked/,
    ],
  ]),
  ...faultsOf("configuration", "services/configuration/followed.ts", [
    [
      "everyone is told everything",
      "if (!this.#all && !this.#keys.has(key)) return undefined;",
      "",
      /each request adds keys|current values come first/,
    ],
  ]),
];
