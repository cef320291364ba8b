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
      "responses come without an item",
      "if (present.length > 0 || wantsInitial) yield",
      "yield",
      /no response comes without an item/,
    ],
    [
      "nobody is told that there is nothing",
      "if (present.length > 0 || wantsInitial) yield",
      "if (present.length > 0) yield",
      /with fairlead-initial/,
    ],
    [
      "current values are not told",
      "yield response(request, present.map(itemOf));",
      "yield response(request, []);",
      /current values come first/,
    ],
    [
      "app ids are not told",
      "=> ({ storeName, appId, items })",
      '=> ({ storeName, appId: "", items })',
      /app id as they were asked/,
    ],
  ]),
  ...faultsOf("configuration", "services/configuration/group-subscription.ts", [
    [
      "everyone is told everything",
      "if (!this.#all && !this.#keys.has(key)) return undefined;",
      "",
      /each request adds keys|current values come first/,
    ],
  ]),
  ...faultsOf("configuration", "services/configuration.ts", [
    [
      "groups and labels are kept as they came",
      "toBinary(ConfigurationItemSchema, complete(item))",
      "toBinary(ConfigurationItemSchema, item)",
      /left out is default/,
    ],
    [
      "groups are not kept",
      "toBinary(ConfigurationItemSchema, complete(item))",
      'toBinary(ConfigurationItemSchema, { ...complete(item), group: "" })',
      /with its group and label/,
    ],
    [
      "tags are not kept",
      "toBinary(ConfigurationItemSchema, complete(item))",
      "toBinary(ConfigurationItemSchema, { ...complete(item), tags: {} })",
      /tags and metadata/,
    ],
    [
      "the first save stays",
      "await store.commit([...writes.values()]);\n      return {};",
      "await store.commit([...writes.values()].map((write) => ({ ...write, ifVersion: 0n })));\n      return {};",
      /a later save replaces/,
    ],
    [
      "all stores are one",
      'keyPrefix("configuration", storeName, appId',
      'keyPrefix("configuration", storeName && "one", appId',
      /in another store/,
    ],
    [
      "empty groups are errors",
      "return found;",
      'if (found.length === 0) throw exhausted("none", 0, "there is nothing");\n  return found;',
      /nothing is in/,
    ],
    [
      "keys are their first letter",
      "...item }) + item.key;",
      "...item }) + item.key.slice(0, 1);",
      /keys are exact/,
    ],
    [
      "answers are sorted",
      "const unique = [...new Set(keys)].map((key) => prefix + key);",
      "const unique = [...new Set(keys)].sort().map((key) => prefix + key);",
      /in request order/,
    ],
    [
      "deletes are of something else",
      '({ type: "delete", key: prefix + key })',
      '({ type: "delete", key: `${prefix + key}x` })',
      /deletes the keys that it names/,
    ],
    [
      "no keys are all keys",
      "if (writes.length > 0) await store.commit(writes);",
      'if (writes.length > 0) await store.commit(writes);\n      else for await (const { key } of store.list(prefix)) await store.commit([{ type: "delete", key }]);',
      /of no keys deletes nothing/,
    ],
    [
      "stores are not told",
      "=> ({ storeName, appId, items })",
      '=> ({ storeName: "", appId, items })',
      /several stores/,
    ],
    [
      "a stream follows one group",
      "this.#groups.get(prefix) ??",
      "[...this.#groups.values()][0] ??",
      /several groups/,
    ],
    [
      "half-close ends the stream",
      "for await (const request of requests) yield { request };",
      'for await (const request of requests) yield { request };\n  throw unavailable("the client has ended its side");',
      /half-close keeps/,
    ],
  ]),
  ...faultsOf("configuration", "engines/shared/change-feed.ts", [
    [
      "the first who leaves takes the others along",
      "if (!watchers?.delete(watcher) || watchers.size > 0) return;",
      "if (!watchers?.delete(watcher)) return;",
      /touches no other/,
    ],
    [
      "one watcher is told",
      "for (const watcher of this.#watchers.get(key.slice(0, length)) ?? []) watcher.add(change);",
      "for (const watcher of [...(this.#watchers.get(key.slice(0, length)) ?? [])].slice(0, 1)) watcher.add(change);",
      /any number of streams/,
    ],
    [
      "who falls behind is told the first change",
      "this.#pending.push(change);\n    this.#bytes",
      "if (this.#pending.some((each) => keyOf(each) === keyOf(change))) return;\n    this.#pending.push(change);\n    this.#bytes",
      /receives the last content in the end/,
    ],
    [
      "changes are not told",
      "this.#pending.push(change);\n    this.#bytes",
      "if (change) return;\n    this.#bytes",
      /receives what another client saves/,
    ],
  ]),
];
