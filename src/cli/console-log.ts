import type { Logger } from "../server/index.js";

/** The levels with pino's numbers. */
const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 };

export type LogLevel = keyof typeof LEVELS;

/** The names of the levels, the most verbose first. */
export const LOG_LEVELS = Object.keys(LEVELS) as LogLevel[];

/**
 * Writes the server's log to stderr, from the level `minLevel` on: one line of JSON per entry, in pino's format. Only
 * these lines show the stacks of errors.
 *
 */
export function consoleLog(
  minLevel: LogLevel = "info",
  write: (line: string) => void = (line) => process.stderr.write(line),
): Logger {
  const at = (level: LogLevel): Logger[LogLevel] => {
    if (LEVELS[level] < LEVELS[minLevel]) return () => {};
    const start = { level: LEVELS[level], pid: process.pid };
    return (fields, msg) => {
      const common = { ...start, time: Date.now() };
      // Spread twice: these fields come first in the line, and other fields of the same names do not replace them.
      write(`${JSON.stringify({ ...common, ...fields, ...common, msg }, toJson)}\n`);
    };
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function toJson(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (!(value instanceof Error)) return value;
  const { name, message, stack, cause } = value;
  return { type: name, message, stack, ...(cause !== undefined && { cause }) };
}
