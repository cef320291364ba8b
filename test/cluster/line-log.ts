import type { Logger } from "../../src/server/index.js";

/** Writes warnings and errors to stderr, which the test prints if a run fails. */
export function lineLog(): Logger {
  const write = (level: string) => (fields: object, message: string) => {
    const { err, ...rest } = fields as { err?: unknown };
    process.stderr.write(
      `${new Date().toISOString()} ${level} ${message} ${JSON.stringify(rest)} ${err ?? ""}\n`,
    );
  };
  return { debug() {}, info: write("info"), warn: write("warn"), error: write("error") };
}
