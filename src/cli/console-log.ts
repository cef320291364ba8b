import type { Log } from "../server/index.js";

/** The levels by the numbers that pino gives them. */
const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 };

export type LogLevel = keyof typeof LEVELS;

/** The names of the levels, from the most talkative on. */
export const LOG_LEVELS = Object.keys(LEVELS) as LogLevel[];

/**
 * Writes each thing that the server tells, from `least` on, as a line of JSON in pino's format, on stderr: pino-pretty
 * and collectors read it. An error shows its stack here and nowhere else.
 */
export function consoleLog(
  least: LogLevel = "info",
  write: (line: string) => void = (line) => process.stderr.write(line),
): Log {
  const at = (level: LogLevel): Log[LogLevel] => {
    if (LEVELS[level] < LEVELS[least]) return () => {};
    const start = { level: LEVELS[level], pid: process.pid };
    return (fields, msg) => {
      const every = { ...start, time: Date.now() };
      // Twice: first in the line, and not to be hidden by a field of the same name.
      write(`${JSON.stringify({ ...every, ...fields, ...every, msg }, plain)}\n`);
    };
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (!(value instanceof Error)) return value;
  const { name, message, stack, cause } = value;
  return { type: name, message, stack, ...(cause !== undefined && { cause }) };
}
