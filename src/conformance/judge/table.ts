import { formatValue } from "../expect.js";
import type { ScenarioVerdict } from "./judge.js";

/** The verdicts for a terminal: a table of primitives, then the mishandled scenarios. */
export function verdictTable(verdicts: readonly ScenarioVerdict[]): string {
  const primitives = [...new Set(verdicts.map(({ scenario }) => scenario.primitive))];
  return [
    `\n  ${"primitive".padEnd(15)}${COLUMNS.map((name) => name.padStart(12)).join("")}\n`,
    ...primitives.map((name) =>
      row(
        name,
        verdicts.filter(({ scenario }) => scenario.primitive === name),
      ),
    ),
    row("all", verdicts),
    ...verdicts.filter(({ status }) => status === "mishandled").map(formatMishandled),
  ].join("");
}

const COLUMNS = ["handled", "mishandled", "not tried"] as const;

function row(name: string, verdicts: readonly ScenarioVerdict[]): string {
  const cells = COLUMNS.map((column) => verdicts.filter(({ status }) => status === column).length);
  return `  ${name.padEnd(15)}${cells.map((count) => String(count || "-").padStart(12)).join("")}\n`;
}

function formatMishandled({ scenario, reason: why, observation: seen, calls }: ScenarioVerdict): string {
  const lines = [
    `MISHANDLED ${scenario.id}: ${scenario.sentence}`,
    `  rule: ${scenario.rule}`,
    `  asked: ${formatValue(scenario.operation)}`,
    `  ${why}`,
    `  reported: ${formatValue(seen)}`,
    ...calls
      .slice(0, 8)
      .map(({ method, requests }) => `  ${method} ${requests.slice(0, 3).map(formatValue).join(" ")}`),
  ];
  return `\n${lines.map((line) => `  ${line}\n`).join("")}`;
}
