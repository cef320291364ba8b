#!/usr/bin/env node
import { runCommand } from "./run-command.js";

// The reader of a pipe may stop early, as `head` does. Then end without an error.
process.stdout.on("error", (error: { code?: string }) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

process.exitCode = await runCommand(process.argv.slice(2));
