import { variableOf } from "./environment.js";
import { optionRows, SERVE_OPTIONS } from "./serve-options.js";

interface CommandHelp {
  usage: string[];
  summary: string;
  options?: [option: string, description: string][];
  /** The environment variables that set its options. */
  variables?: string[];
}

/** The commands in the order of the overview. */
export const HELP: Record<string, CommandHelp> = {
  serve: {
    usage: ["fairlead serve [options]"],
    summary: "Runs the reference server until SIGINT or SIGTERM.",
    options: optionRows(SERVE_OPTIONS),
    variables: Object.keys(SERVE_OPTIONS).map(variableOf),
  },
  health: {
    usage: ["fairlead health [URL]"],
    summary: `Asks the server at URL whether it is ready. Exit status 1: it is not, or it does not answer.
  Without URL it asks the server that the environment variables of serve describe, as in a container.`,
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
    usage: ["fairlead tour [URL[,URL…]]"],
    summary:
      "Calls every primitive over every protocol, on a server of its own, or on the one at URL or one of several.",
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
  const { usage, summary, options = [], variables = [] } = HELP[name] ?? { usage: [], summary: "" };
  const all: [string, string][] = [...options, ["--help, -h", "prints this help"]];
  const width = Math.max(...all.map(([option]) => option.length)) + 2;
  const lines = all.map(([option, text]) => `  ${option.padEnd(width)}${text}\n`);
  return `${usage.map((line) => `${line}\n`).join("")}\n  ${summary}\n\n${lines.join("")}${environment(variables)}`;
}

/** The variables, several on a line. */
function environment(variables: readonly string[]): string {
  if (variables.length === 0) return "";
  const lines = [""];
  for (const variable of variables) {
    const line = `${lines.at(-1)} ${variable}`;
    if (line.length <= 100) lines[lines.length - 1] = line;
    else lines.push(` ${variable}`);
  }
  return `
  Environment variables set the options as well. The command line wins, and an empty variable is not set:
${lines.map((line) => ` ${line}\n`).join("")}`;
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
