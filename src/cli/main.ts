#!/usr/bin/env node
import { VERSION } from "../server/index.js";
import { config } from "./config.js";
import { conformance } from "./conformance.js";
import { backup, check, restore } from "./data-folder.js";
import { serve } from "./serve.js";
import { tour } from "./tour.js";

const HELP = `fairlead: distributed-systems primitives for every JavaScript runtime

  fairlead serve [--host 127.0.0.1] [--port 34904] [--config FILE] [--insecure] [--log-level info]
      run the reference server; without --config it takes ./fairlead.json, if there is one; a host that others
      can reach needs "access" in that file, or --insecure
      --tls-key FILE --tls-cert FILE   TLS on the port, and nothing else; the files are read anew when they change,
                                       and on SIGHUP
      --grace 5                        seconds that calls under way may take when it is told to end
      --data fairlead-data             the folder that keeps everything: what is acknowledged is on the disk
      --memory                         keep everything in memory, until the process ends
  fairlead backup DIR OUT | restore BACKUP DIR
      copy what a data folder has at one moment, also while a server runs on it; make a data folder of the copy
  fairlead check DIR
      read all of a data folder, which no server may use meanwhile, and tell what is damaged
  fairlead config check [FILE] | schema
      tell what the components file configures, or what is wrong with it; print its JSON Schema
  fairlead tour [URL]
      call every primitive, over every protocol, on a server of its own or on the one at URL
  fairlead conformance URL [--protocol connect|grpc|grpc-web|tunnel|all] [--config FILE] [--primitive state,lock]
      hold any server that speaks the API against the suite, and tell what it does otherwise; status 1 where it does
      --profile fairlead|layotto         what is expected: all that is promised, or what the Go runtime is known to do
      --report text|junit|json|html|tap  how it is told, with --output FILE also where to
      --no-wait                          leave out the cases that wait for time to pass
  fairlead conformance --serve [--host 127.0.0.1] [--port 34904]
      play every answer that a runtime may give to the client that calls, and tell which of them it mishandled; the
      client asks /scenarios what to do, reports there what it saw, and says by POST /done that it is done
  fairlead --version
`;

/** Each command takes what follows its name and resolves with the exit status. */
const COMMANDS: Record<string, (args: string[]) => Promise<number>> = {
  serve,
  backup,
  check,
  restore,
  config,
  tour,
  conformance,
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
