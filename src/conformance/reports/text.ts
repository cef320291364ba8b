import {
  countResults,
  formatShortfall,
  primitivesOf,
  type Report,
  resultReason,
  statusOf,
} from "../report.js";
import type { Run } from "../run.js";
import { formatCall } from "../run-case.js";

/** The report for a terminal: a table of primitives, then failures, known deviations and skipped cases. */
export function textReport({ server, profile, runs }: Report): string {
  return `\n  Conformance of ${server}, profile ${profile}\n${runs.map(section).join("")}`;
}

const STATUSES = ["passed", "failed", "deviates", "skipped"] as const;

function section(run: Run): string {
  const { transport, ms, results } = run;
  const rows = primitivesOf(results).map((primitive) => row(primitive, countResults(results, primitive)));
  return [
    `\n  ${transport}, ${(ms / 1000).toFixed(1)} s\n\n`,
    `  ${"primitive".padEnd(15)}${STATUSES.map((name) => name.padStart(10)).join("")}\n`,
    ...rows,
    row("all", countResults(results)),
    ...(run.lost === undefined ? [] : [`\n  ENDED EARLY: ${run.lost}\n`]),
    ...titledList("too few passed", run.shortfalls.map(formatShortfall)),
    ...failures(run),
    ...deviations(run),
    ...skipped(run),
  ].join("");
}

function row(name: string, { passed, failed, deviates, skipped }: ReturnType<typeof countResults>): string {
  const cells = [passed, failed, deviates, skipped].map((count) => String(count || "-").padStart(10));
  return `  ${name.padEnd(15)}${cells.join("")}\n`;
}

function failures({ results }: Run): string[] {
  return results.flatMap((result) => {
    const { outcome } = result;
    if (outcome.status !== "failed" || result.deviation) return [];
    const lines = [outcome.error.message, ...outcome.calls.map(formatCall)].join("\n").split("\n");
    const { primitive, name, rule } = result.case;
    return [`\n  FAILED ${primitive}: ${name}\n    rule: ${rule}\n`, ...lines.map((line) => `    ${line}\n`)];
  });
}

function deviations({ results, unseenDeviations }: Run): string[] {
  const known = new Map<string, number>();
  for (const { case: one, deviation } of results) {
    if (!deviation) continue;
    const line = `${one.primitive}: ${deviation.reason}`;
    known.set(line, (known.get(line) ?? 0) + 1);
  }
  return [
    ...titledList(
      "known deviations",
      [...known].map(([line, count]) => `${count} × ${line}`),
    ),
    ...titledList(
      "known deviations that did not happen",
      unseenDeviations.map(({ primitive, reason }) => `${primitive}: ${reason}`),
    ),
  ];
}

function skipped({ results }: Run): string[] {
  const reasons = new Map<string, number>();
  for (const result of results) {
    if (statusOf(result) === "skipped")
      reasons.set(resultReason(result), (reasons.get(resultReason(result)) ?? 0) + 1);
  }
  return titledList(
    "skipped",
    [...reasons].map(([reason, count]) => `${count} × ${reason}`),
  );
}

const titledList = (title: string, lines: string[]): string[] =>
  lines.length > 0 ? [`\n  ${title}\n`, ...lines.map((line) => `    ${line}\n`)] : [];
