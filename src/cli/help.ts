/** The commands, in the order of the overview: how each is called, its summary, and its options. */
export const HELP: Record<
  string,
  { usage: string[]; what: string; options?: [option: string, what: string][] }
> = {
  serve: {
    usage: ["fairlead serve [options]"],
    what: "Runs the reference server until SIGINT or SIGTERM.",
    options: [
      [
        "--host 127.0.0.1",
        'the address to listen on; others than loopback need "access" in the file, or --insecure',
      ],
      ["--port 34904", "the port; 0 takes any free one"],
      ["--config FILE", "the components file; default: ./fairlead.json, if there is one"],
      ["--data fairlead-data", "the folder that keeps everything: what is acknowledged is on the disk"],
      ["--memory", "keeps everything in memory, until the process ends"],
      ["--tls-key FILE", "the private key, PEM: with --tls-cert the port speaks TLS only"],
      ["--tls-cert FILE", "the certificate, PEM; both files are read again when they change, and on SIGHUP"],
      ["--drain 0", "seconds that it takes calls although it says that it is not ready, before it ends"],
      ["--grace 5", "seconds that calls under way may take when the server is told to end"],
      ["--insecure", 'lets everyone who reaches --host call a server without "access"'],
      ["--log-level info", "the least that is logged: debug, info, warn or error"],
      ["--otlp URL", "exports traces and metrics by OTLP, to a collector like http://localhost:4318"],
      ["--conformance", "adds what the conformance suite needs, see docs/conformance.md; not for production"],
    ],
  },
  backup: {
    usage: ["fairlead backup DIR OUT"],
    what: "Copies what a data folder has at one moment, also while a server runs on it.",
  },
  restore: {
    usage: ["fairlead restore BACKUP DIR"],
    what: "Makes a data folder of a backup.",
  },
  check: {
    usage: ["fairlead check DIR"],
    what: "Reads all of a data folder, which no server may use meanwhile, and reports what is damaged.",
  },
  "config check": {
    usage: ["fairlead config check [FILE] [options]"],
    what: "Reports what the components file (./fairlead.json) configures, or everything that is wrong with it.",
    options: [
      ["--tls-key FILE", "also checks this key"],
      ["--tls-cert FILE", "and that this certificate fits it"],
    ],
  },
  "config schema": {
    usage: ["fairlead config schema"],
    what: "Prints the JSON Schema of the components file.",
  },
  tour: {
    usage: ["fairlead tour [URL]"],
    what: "Calls every primitive, over every protocol, on a server of its own or on the one at URL.",
  },
  conformance: {
    usage: [
      "fairlead conformance [URL] [options]",
      "fairlead conformance --serve [--host 127.0.0.1] [--port 34904]",
    ],
    what: `Runs the conformance suite against the server at URL; without URL against the reference server itself, with
  everything that the suite needs. With --serve it judges clients: it plays every answer that a runtime may give.
  See docs/conformance.md and docs/judging-clients.md.`,
    options: [
      ["--protocol connect", "connect, grpc, grpc-web, tunnel or all"],
      ["--http-version 2", "1.1, 2 or all; the tunnel has none"],
      ["--config FILE", "what the server calls its stores, and what else it has for the suite"],
      [
        "--profile fairlead",
        "what is expected: fairlead, all that is promised; layotto, what the Go runtime does",
      ],
      ["--primitive NAMES", "only these primitives, as state,lock"],
      ["--report text", "text, junit, json, html or tap"],
      ["--output FILE", "where the report goes; default: stdout"],
      ["--no-wait", "leaves out the cases that wait for time to pass"],
    ],
  },
};

const STATUS = `Exit status: 0 all is well; 1 the command failed, or found something wrong (damage, a wrong file, a failed case);
2 it was called wrongly, or there is no result (no such folder, no server at URL, a server that went away).
`;

/** The help of the command `name`; undefined where there is none. Of one that has subcommands, that of all of them. */
export function helpOf(name: string): string | undefined {
  const names = Object.keys(HELP).filter((each) => each === name || each.startsWith(`${name} `));
  if (names.length === 0) return undefined;
  return `${names.map(section).join("\n")}\n${STATUS}`;
}

function section(name: string): string {
  const { usage, what, options = [] } = HELP[name] ?? { usage: [], what: "" };
  const all: [string, string][] = [...options, ["--help, -h", "prints this"]];
  const width = Math.max(...all.map(([option]) => option.length)) + 2;
  const lines = all.map(([option, text]) => `  ${option.padEnd(width)}${text}\n`);
  return `${usage.map((line) => `${line}\n`).join("")}\n  ${what}\n\n${lines.join("")}`;
}

/** The overview of all commands. */
export function overview(): string {
  const lines = Object.values(HELP).map(({ usage, what }) => {
    const [first = ""] = what.split("\n");
    return `${usage.map((line) => `  ${line}\n`).join("")}      ${first}${what.includes("\n") ? " …" : ""}\n`;
  });
  return `fairlead: distributed-systems primitives for every JavaScript runtime

${lines.join("")}  fairlead help [COMMAND], fairlead COMMAND --help
      Prints this, or the options of one command.
  fairlead --version

${STATUS}`;
}
