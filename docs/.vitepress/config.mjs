// The site of docs/: `npm run docs` builds it into docs/.vitepress/dist, with the API reference beside it under api/.

const primitive = (text, name) => ({ text, link: `/primitives/${name}` });

export default {
  title: "Fairlead",
  description: "Distributed-systems primitives for every JavaScript runtime",
  cleanUrls: false,
  lastUpdated: false,
  // Made by typedoc after the pages; its own run checks its links.
  ignoreDeadLinks: [/^\/api\//],
  head: [["link", { rel: "icon", href: "data:," }]],
  themeConfig: {
    search: { provider: "local" },
    outline: [2, 3],
    nav: [
      { text: "Quick start", link: "/quick-start" },
      { text: "Primitives", link: "/primitives/state" },
      { text: "API", link: "/api/index.html", target: "_self" },
    ],
    sidebar: [
      {
        text: "Start",
        items: [
          { text: "Quick start", link: "/quick-start" },
          { text: "Testing", link: "/testing" },
          { text: "Moving from another SDK", link: "/migrating" },
        ],
      },
      {
        text: "Primitives",
        items: [
          primitive("State", "state"),
          primitive("Lock", "lock"),
          primitive("Sequencer", "sequencer"),
          primitive("Pub/sub", "pubsub"),
          primitive("Files", "files"),
          primitive("Versioned map", "map"),
          primitive("Gossip map", "gossip-map"),
          primitive("Presence", "presence"),
          primitive("Log", "log"),
          primitive("Configuration", "configuration"),
          primitive("Secrets", "secrets"),
          primitive("Bindings", "bindings"),
          primitive("Service invocation", "service"),
          primitive("Lifecycle and hello", "lifecycle"),
        ],
      },
      {
        text: "Client",
        items: [
          { text: "Transports", link: "/transports" },
          { text: "Browsers and runtimes", link: "/runtimes" },
          { text: "Values", link: "/values" },
          { text: "Connections", link: "/connections" },
          { text: "Lifetimes", link: "/lifetimes" },
          { text: "Using the package", link: "/using-the-package" },
        ],
      },
      {
        text: "Server",
        items: [
          { text: "Server and configuration", link: "/server" },
          { text: "Access", link: "/access" },
          { text: "Proxies", link: "/proxies" },
          { text: "Operations", link: "/operations" },
          { text: "Many servers", link: "/deploy" },
          { text: "Replication of maps", link: "/map-replication" },
          { text: "Telemetry", link: "/telemetry" },
          { text: "Disk engine", link: "/disk-engine" },
          { text: "JetStream engine", link: "/jetstream-engine" },
          { text: "Writing an engine", link: "/writing-an-engine" },
        ],
      },
      {
        text: "Conformance",
        items: [
          { text: "Judging servers", link: "/conformance" },
          { text: "Judging clients", link: "/judging-clients" },
          { text: "The tunnel protocol", link: "/tunnel" },
          { text: "The gossip protocol", link: "/gossip-protocol" },
        ],
      },
    ],
  },
};
