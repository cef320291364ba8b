import type { Log } from "../server/index.js";

/** One line of JSON for each thing the server tells, on stderr. An error shows its stack here and nowhere else. */
export const consoleLog: Log = {
  info: (message, fields) => write("info", message, fields),
  warn: (message, fields) => write("warn", message, fields),
  error: (message, fields) => write("error", message, fields),
};

function write(level: string, message: string, fields: Record<string, unknown> = {}): void {
  const line = { time: new Date().toISOString(), level, message, ...fields };
  const text = JSON.stringify(line, (_key, value: unknown) => {
    if (value instanceof Error) return value.stack ?? value.message;
    return typeof value === "bigint" ? String(value) : value;
  });
  process.stderr.write(`${text}\n`);
}
