#!/usr/bin/env node
import { VERSION } from "../server/index.js";
import { serve } from "./serve.js";
import { tour } from "./tour.js";

const HELP = `fairlead: distributed-systems primitives for every JavaScript runtime

  fairlead serve [--host 127.0.0.1] [--port 34904] [--config FILE] [--memory]
      run the reference server
  fairlead tour [URL]
      call every primitive, over every protocol, on a server of its own or on the one at URL
  fairlead --version
`;

/** Each command takes what follows its name and resolves with the exit status. */
const COMMANDS: Record<string, (args: string[]) => Promise<number>> = {
  serve,
  tour,
  async help() {
    process.stdout.write(HELP);
    return 0;
  },
  async version() {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  },
};

async function main([name = "help", ...args]: string[]): Promise<number> {
  const command = COMMANDS[name.replace(/^--/, "").replace(/^-h$/, "help")];
  if (command) return command(args);
  process.stderr.write(`fairlead: there is no command "${name}"\n\n${HELP}`);
  return 2;
}

// Whoever reads our output may stop, as `head` does: then there is no one left to tell.
process.stdout.on("error", (error: { code?: string }) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.stderr.write(`fairlead: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  },
);
