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
import { escapeMarkup } from "./escape-markup.js";

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
body{color-scheme:light dark}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #8884}
th:first-child,td:first-child{text-align:left}
.failed{color:#c22}.passed{color:#282}.deviates{color:#a60}.skipped{color:#777}
pre{overflow:auto;background:#8881;padding:.6rem}summary{cursor:pointer}`;

/** The report as one self-contained HTML page. */
export function htmlReport({ server, profile, at, runs }: Report): string {
  const title = `Conformance of ${escapeMarkup(server)}`;
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<style>${STYLE}</style>
<h1>${title}</h1>
<p>Profile ${escapeMarkup(profile)}, ${at.toISOString()}</p>
${runs.map(section).join("\n")}
</html>
`;
}

const STATUSES = ["passed", "failed", "deviates", "skipped"] as const;

function section({ transport, ms, results, unseenDeviations, shortfalls, lost }: Run): string {
  const rows = primitivesOf(results).map((primitive) => {
    const counts = countResults(results, primitive);
    const cells = STATUSES.map((status) => `<td class="${status}">${counts[status] || ""}</td>`);
    return `<tr><td>${primitive}</td>${cells.join("")}</tr>`;
  });
  const notPassed = results.filter((result) => result.outcome.status !== "passed");
  const cases = notPassed.map((result) => {
    const { case: conformanceCase, outcome } = result;
    const status = statusOf(result);
    const name = `${conformanceCase.primitive}: ${escapeMarkup(conformanceCase.name)}`;
    const calls =
      outcome.status === "failed"
        ? `<pre>${escapeMarkup(outcome.calls.map(formatCall).join("\n"))}</pre>`
        : "";
    const summary = `<summary class="${status}">${status}: ${name}</summary>`;
    return `<details>${summary}<p>${escapeMarkup(resultReason(result))}</p>${calls}</details>`;
  });
  const unseen = unseenDeviations.map(
    ({ primitive, reason }) => `<li>${primitive}: ${escapeMarkup(reason)}</li>`,
  );
  const problems = [...(lost === undefined ? [] : [lost]), ...shortfalls.map(formatShortfall)];
  return `<h2>${escapeMarkup(transport)}, ${(ms / 1000).toFixed(1)} s</h2>
<table><tr><th>primitive</th>${STATUSES.map((status) => `<th>${status}</th>`).join("")}</tr>${rows.join("")}</table>
${problems.map((line) => `<p class="failed">${escapeMarkup(line)}</p>`).join("")}
${unseen.length > 0 ? `<p>Known deviations that did not happen:</p><ul>${unseen.join("")}</ul>` : ""}
${cases.join("\n")}`;
}
