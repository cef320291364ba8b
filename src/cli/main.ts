#!/usr/bin/env node
import { runCommand } from "./run-command.js";

// Whoever reads our output may stop, as `head` does: then there is no one left to tell.
process.stdout.on("error", (error: { code?: string }) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

process.exitCode = await runCommand(process.argv.slice(2));
