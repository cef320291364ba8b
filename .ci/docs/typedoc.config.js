import { OptionDefaults } from "typedoc";

/** The API reference of everything that can be imported; whatever has no comment, or points to nothing, is a failure. */
export default {
  name: "Fairlead",
  entryPoints: ["index", "web", "node", "tunnel", "app", "otel", "server/index", "server/node", "server/disk", "conformance/index"].map((name) => `../../src/${name}.ts`),
  tsconfig: "../../tsconfig.json",
  out: "../../docs/.vitepress/dist/api",
  readme: "../../README.md",
  disableGit: true,
  disableSources: true,
  excludeExternals: true,
  excludePrivate: true,
  sort: ["source-order"],
  plugin: [new URL("plugin.js", import.meta.url).pathname],
  // Generated, or of no use but to make the types that are.
  intentionallyNotExported: [
    "Runtime",
    "Lifecycle",
    "MapService",
    "GossipMapService",
    "LogService",
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
