import { counted, kindOf, primitivesOf, type Report, type Run, toldShortfall, whyOf } from "../report.js";
import { toldCall } from "../run.js";

/** The report for a terminal: a table of primitives, then what failed, deviates and was skipped. */
export function textReport({ server, profile, runs }: Report): string {
  return `\n  Conformance of ${server}, profile ${profile}\n${runs.map(section).join("")}`;
}

function section(run: Run): string {
  const { way, ms, results } = run;
  const rows = primitivesOf(results).map((primitive) => row(primitive, counted(results, primitive)));
  return [
    `\n  ${way}, ${(ms / 1000).toFixed(1)} s\n\n`,
    `  ${"primitive".padEnd(15)}${["passed", "failed", "deviates", "skipped"].map((name) => name.padStart(10)).join("")}\n`,
    ...rows,
    row("all", counted(results)),
    ...(run.lost === undefined ? [] : [`\n  ENDED EARLY: ${run.lost}\n`]),
    ...listed("too few passed", run.shortfalls.map(toldShortfall)),
    ...failures(run),
    ...deviations(run),
    ...skipped(run),
  ].join("");
}

function row(name: string, { passed, failed, deviates, skipped }: ReturnType<typeof counted>): string {
  const cells = [passed, failed, deviates, skipped].map((count) => String(count || "-").padStart(10));
  return `  ${name.padEnd(15)}${cells.join("")}\n`;
}

function failures({ results }: Run): string[] {
  return results.flatMap((result) => {
    const { outcome } = result;
    if (outcome.status !== "failed" || result.deviation) return [];
    const lines = [outcome.error.message, ...outcome.calls.map(toldCall)].join("\n").split("\n");
    const { primitive, name, rule } = result.case;
    return [`\n  FAILED ${primitive}: ${name}\n    rule: ${rule}\n`, ...lines.map((line) => `    ${line}\n`)];
  });
}

function deviations({ results, gone }: Run): string[] {
  const known = new Map<string, number>();
  for (const { case: one, deviation } of results) {
    if (!deviation) continue;
    const what = `${one.primitive}: ${deviation.why}`;
    known.set(what, (known.get(what) ?? 0) + 1);
  }
  return [
    ...listed(
      "known deviations",
      [...known].map(([what, count]) => `${count} × ${what}`),
    ),
    ...listed(
      "known deviations that did not happen",
      gone.map(({ primitive, why }) => `${primitive}: ${why}`),
    ),
  ];
}

function skipped({ results }: Run): string[] {
  const reasons = new Map<string, number>();
  for (const result of results) {
    if (kindOf(result) === "skipped") reasons.set(whyOf(result), (reasons.get(whyOf(result)) ?? 0) + 1);
  }
  return listed(
    "skipped",
    [...reasons].map(([reason, count]) => `${count} × ${reason}`),
  );
}

const listed = (title: string, lines: string[]): string[] =>
  lines.length > 0 ? [`\n  ${title}\n`, ...lines.map((line) => `    ${line}\n`)] : [];
