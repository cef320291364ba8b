import { kindOf, type Report, toldShortfall, whyOf } from "../report.js";
import { toldCall } from "../run.js";

/** The report as TAP 14. A known deviation is a test that is still to do. */
export function tapReport({ runs }: Report): string {
  const lines = ["TAP version 14", `1..${runs.reduce((sum, { results }) => sum + results.length, 0)}`];
  let number = 0;
  for (const { way, results } of runs) {
    for (const result of results) {
      const kind = kindOf(result);
      const name = `${way} ${result.case.primitive}: ${result.case.name}`.replace(/[\\#\r\n]/g, escaped);
      // TODO is TAP's own word for a failure that is expected: its readers do not count it as one.
      const directive =
        kind === "skipped"
          ? ` # SKIP ${line(whyOf(result))}`
          : kind === "deviates"
            ? ` # TODO ${line(whyOf(result))}`
            : "";
      const isOk = kind === "passed" || kind === "skipped";
      lines.push(`${isOk ? "ok" : "not ok"} ${++number} - ${name}${directive}`);
      if (result.outcome.status !== "failed") continue;
      const { error, calls } = result.outcome;
      const told = [error.message, ...calls.map(toldCall)].join("\n").split("\n");
      lines.push("  ---", "  message: |", ...told.map((text) => `    ${text}`), "  ...");
    }
  }
  // A run that ended early, or in which too little passed, is no success whatever its lines say.
  for (const { way, lost, shortfalls } of runs) {
    if (lost !== undefined) lines.push(`Bail out! ${way}: ${line(lost)}`);
    for (const shortfall of shortfalls) lines.push(`Bail out! ${way}: ${toldShortfall(shortfall)}`);
  }
  return `${lines.join("\n")}\n`;
}

const escaped = (character: string): string => (/[\r\n]/.test(character) ? " " : `\\${character}`);

const line = (text: string): string => text.split("\n", 1)[0] ?? "";
