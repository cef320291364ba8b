import { OptionDefaults } from "typedoc";

/** The API reference of all entry points. A missing comment and a dead link are failures. */
export default {
  name: "Fairlead",
  entryPoints: ["index", "web", "node", "tunnel", "app", "otel", "server/index", "server/node", "server/disk", "server/jetstream", "conformance/index"].map((name) => `../../src/${name}.ts`),
  tsconfig: "../../tsconfig.json",
  out: "../../docs/.vitepress/dist/api",
  readme: "../../README.md",
  disableGit: true,
  disableSources: true,
  excludeExternals: true,
  excludePrivate: true,
  sort: ["source-order"],
  plugin: [new URL("plugin.js", import.meta.url).pathname],
  // Generated, or only used to derive exported types.
  intentionallyNotExported: [
    "Runtime",
    "Lifecycle",
    "MapService",
    "GossipMapService",
    "LogService",
    "PRIMITIVES",
    "Configurable",
    "ConfigurationItemSchema",
  ],
  blockTags: [...OptionDefaults.blockTags, "@generated"],
  excludeTags: ["@generated"],
  validation: { notExported: true, invalidLink: true, rewrittenLink: true, notDocumented: true, invalidPath: false },
  requiredToBeDocumented: [
    "Module",
    "Variable",
    "Function",
    "Class",
    "Interface",
    "TypeAlias",
    "Property",
    "Method",
    "Accessor",
  ],
  treatWarningsAsErrors: true,
};
