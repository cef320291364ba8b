/** The commands in the order of the overview: usage, summary and options. */
export const HELP: Record<
  string,
  { usage: string[]; summary: string; options?: [option: string, description: string][] }
> = {
  serve: {
    usage: ["fairlead serve [options]"],
    summary: "Runs the reference server until SIGINT or SIGTERM.",
    options: [
      [
        "--host 127.0.0.1",
        'the address to listen on; if it is not loopback, the file needs "access", or use --insecure',
      ],
      ["--port 34904", "the port; 0 takes any free one"],
      ["--config FILE", "the components file; default: ./fairlead.json, if there is one"],
      [
        "--data fairlead-data",
        "the folder for all data; acknowledged writes are on disk; needs classic-level",
      ],
      ["--memory", "keeps data in memory only: all of it is lost when the server ends"],
      ["--tls-key FILE", "the private key, PEM: with --tls-cert the port speaks TLS only"],
      ["--tls-cert FILE", "the certificate, PEM; both files are read again when they change, and on SIGHUP"],
      ["--drain 0", "seconds after SIGTERM in which /readyz is 503 and calls are still accepted"],
      ["--grace 5", "seconds after that for open calls to finish"],
      ["--insecure", 'allows --host other than loopback without "access": everyone may call'],
      ["--log-level info", "the lowest level that is logged: debug, info, warn or error"],
      ["--otlp URL", "exports traces and metrics by OTLP, to a collector such as http://localhost:4318"],
      [
        "--conformance",
        "adds the components of the conformance suite, see docs/conformance.md; not for production",
      ],
    ],
  },
  backup: {
    usage: ["fairlead backup DIR OUT"],
    summary: "Copies a data folder as it is at one moment, even while a server uses it.",
  },
  restore: {
    usage: ["fairlead restore BACKUP DIR"],
    summary: "Creates a data folder from a backup.",
  },
  check: {
    usage: ["fairlead check DIR"],
    summary: "Reads a whole data folder and reports damage. No server may use the folder meanwhile.",
  },
  "config check": {
    usage: ["fairlead config check [FILE] [options]"],
    summary: "Checks the components file (./fairlead.json): lists what it configures, or every mistake.",
    options: [
      ["--tls-key FILE", "also checks this private key"],
      ["--tls-cert FILE", "and that this certificate matches it"],
    ],
  },
  "config schema": {
    usage: ["fairlead config schema"],
    summary: "Prints the JSON Schema of the components file.",
  },
  tour: {
    usage: ["fairlead tour [URL]"],
    summary: "Calls every primitive over every protocol, on a server of its own or on the server at URL.",
  },
  conformance: {
    usage: [
      "fairlead conformance [URL] [options]",
      "fairlead conformance --serve [--host 127.0.0.1] [--port 34904]",
    ],
    summary: `Runs the conformance suite against the server at URL, or against a reference server that it starts.
  With --serve it judges clients: it is a server that gives every answer that a runtime may give.
  See docs/conformance.md and docs/judging-clients.md.`,
    options: [
      ["--protocol connect", "connect, grpc, grpc-web, tunnel or all"],
      ["--http-version 2", "1.1, 2 or all; the tunnel ignores it"],
      ["--config FILE", "the names of the server's stores and of its other components for the suite"],
      [
        "--profile fairlead",
        "fairlead: every case must pass; layotto: known deviations of the Go runtime are allowed",
      ],
      ["--primitive NAMES", "only these primitives, such as state,lock"],
      ["--report text", "text, junit, json, html or tap"],
      ["--output FILE", "the file for the report; default: stdout"],
      ["--no-wait", "skips cases that wait for time to pass"],
    ],
  },
};

const STATUS = `Exit status: 0 success; 1 the command failed, or found a problem (damage, a mistake in a file, a failed
case); 2 wrong usage, or no result (no such folder, no server at URL, a server that went away).
`;

/** The help of a command and its subcommands; undefined if there is no such command. */
export function helpOf(name: string): string | undefined {
  const names = Object.keys(HELP).filter((command) => command === name || command.startsWith(`${name} `));
  if (names.length === 0) return undefined;
  return `${names.map(section).join("\n")}\n${STATUS}`;
}

function section(name: string): string {
  const { usage, summary, options = [] } = HELP[name] ?? { usage: [], summary: "" };
  const all: [string, string][] = [...options, ["--help, -h", "prints this help"]];
  const width = Math.max(...all.map(([option]) => option.length)) + 2;
  const lines = all.map(([option, text]) => `  ${option.padEnd(width)}${text}\n`);
  return `${usage.map((line) => `${line}\n`).join("")}\n  ${summary}\n\n${lines.join("")}`;
}

/** The overview of all commands. */
export function overview(): string {
  const lines = Object.values(HELP).map(({ usage, summary }) => {
    const [first = ""] = summary.split("\n");
    return `${usage.map((line) => `  ${line}\n`).join("")}      ${first}${summary.includes("\n") ? " …" : ""}\n`;
  });
  return `fairlead: distributed-systems primitives for every JavaScript runtime

${lines.join("")}  fairlead help [COMMAND], fairlead COMMAND --help
      Prints this help, or the options of one command.
  fairlead --version

${STATUS}`;
}
