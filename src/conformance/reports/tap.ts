import { formatShortfall, type Report, resultReason, statusOf } from "../report.js";
import { formatCall } from "../run-case.js";

/** The report as TAP 14. A known deviation has the directive TODO. */
export function tapReport({ runs }: Report): string {
  const lines = ["TAP version 14", `1..${runs.reduce((sum, { results }) => sum + results.length, 0)}`];
  let number = 0;
  for (const { transport, results } of runs) {
    for (const result of results) {
      const kind = statusOf(result);
      const name = `${transport} ${result.case.primitive}: ${result.case.name}`.replace(
        /[\\#\r\n]/g,
        escapeCharacter,
      );
      // TAP marks an expected failure with TODO: readers do not count it as a failure.
      const directive =
        kind === "skipped"
          ? ` # SKIP ${firstLine(resultReason(result))}`
          : kind === "deviates"
            ? ` # TODO ${firstLine(resultReason(result))}`
            : "";
      const isOk = kind === "passed" || kind === "skipped";
      lines.push(`${isOk ? "ok" : "not ok"} ${++number} - ${name}${directive}`);
      if (result.outcome.status !== "failed") continue;
      const { error, calls } = result.outcome;
      const text = [error.message, ...calls.map(formatCall)].join("\n").split("\n");
      lines.push("  ---", "  message: |", ...text.map((line) => `    ${line}`), "  ...");
    }
  }
  // A run that ended early, or in which too few cases passed, has failed even if no line says so.
  for (const { transport, lost, shortfalls } of runs) {
    if (lost !== undefined) lines.push(`Bail out! ${transport}: ${firstLine(lost)}`);
    for (const shortfall of shortfalls) lines.push(`Bail out! ${transport}: ${formatShortfall(shortfall)}`);
  }
  return `${lines.join("\n")}\n`;
}

const escapeCharacter = (character: string): string => (/[\r\n]/.test(character) ? " " : `\\${character}`);

const firstLine = (text: string): string => text.split("\n", 1)[0] ?? "";
