import { VERSION } from "../server/index.js";
import { UsageError, unknownName } from "./command-line.js";
import { configCommand } from "./config.js";
import { conformanceCommand } from "./conformance.js";
import { backupCommand, checkCommand, restoreCommand } from "./data-folder.js";
import { errorText } from "./error-text.js";
import { healthCommand } from "./health.js";
import { helpOf, overview } from "./help.js";
import { serveCommand } from "./serve.js";
import { tourCommand } from "./tour.js";

/** The commands. Each takes the arguments after its name and resolves with the exit status. */
const COMMANDS: Record<string, (args: string[]) => Promise<number>> = {
  serve: serveCommand,
  health: healthCommand,
  backup: backupCommand,
  check: checkCommand,
  restore: restoreCommand,
  config: configCommand,
  tour: tourCommand,
  conformance: conformanceCommand,
  help,
  async version() {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  },
};

const OPTIONS: Record<string, string> = {
  "--help": "help",
  "-h": "help",
  "--version": "version",
  "-v": "version",
};

/**
 * Runs the command line `argv` and resolves with the exit status. 0: success. 1: the command failed or found a problem.
 * 2: wrong usage, or no result. Errors are written to stderr.
 */
export async function runCommand([first = "help", ...args]: string[]): Promise<number> {
  const name = OPTIONS[first] ?? first;
  try {
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (!command) throw unknownName(first.startsWith("-") ? "option" : "command", first, namesLike(first));
    if (name !== "help" && asksForHelp(args)) return await help([name, ...args]);
    return await command(args);
  } catch (error) {
    process.stderr.write(`fairlead: ${errorText(error)}\n`);
    if (!(error instanceof UsageError)) return 1;
    process.stderr.write(`try: ${helpOf(name) ? `fairlead ${name} --help` : "fairlead help"}\n`);
    return 2;
  }
}

const namesLike = (name: string): string[] => Object.keys(name.startsWith("-") ? OPTIONS : COMMANDS);

/** Whether there is a --help or -h before "--". */
function asksForHelp(args: string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end === -1 ? undefined : end).some((arg) => arg === "--help" || arg === "-h");
}

/** `fairlead help [COMMAND [SUBCOMMAND]]`. */
async function help(args: string[]): Promise<number> {
  const [name, sub] = args.filter((arg) => !arg.startsWith("-"));
  if (name === undefined || name === "help" || name === "version") {
    process.stdout.write(overview());
    return 0;
  }
  const text = helpOf(`${name} ${sub}`) ?? helpOf(name);
  if (text === undefined) throw unknownName("command", name, Object.keys(COMMANDS));
  process.stdout.write(text);
  return 0;
}
