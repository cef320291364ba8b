import { counted, kindOf, primitivesOf, type Report, type Run, toldShortfall, whyOf } from "../report.js";
import { toldCall } from "../run.js";
import { marked } from "./marked.js";

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #8884}
th:first-child,td:first-child{text-align:left}.failed{color:#c22}.passed{color:#282}.deviates{color:#a60}.skipped{color:#777}
pre{overflow:auto;background:#8881;padding:.6rem}summary{cursor:pointer}`;

/** The report as one page that needs nothing else. */
export function htmlReport({ server, profile, at, runs }: Report): string {
  const title = `Conformance of ${marked(server)}`;
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<style>${STYLE}</style>
<h1>${title}</h1>
<p>Profile ${marked(profile)}, ${at.toISOString()}</p>
${runs.map(section).join("\n")}
</html>
`;
}

const KINDS = ["passed", "failed", "deviates", "skipped"] as const;

function section({ way, ms, results, gone, shortfalls, lost }: Run): string {
  const rows = primitivesOf(results).map((primitive) => {
    const counts = counted(results, primitive);
    return `<tr><td>${primitive}</td>${KINDS.map((kind) => `<td class="${kind}">${counts[kind] || ""}</td>`).join("")}</tr>`;
  });
  const told = results.filter((result) => result.outcome.status !== "passed");
  const cases = told.map((result) => {
    const kind = kindOf(result);
    const { outcome } = result;
    const calls =
      outcome.status === "failed" ? `<pre>${marked(outcome.calls.map(toldCall).join("\n"))}</pre>` : "";
    return `<details><summary class="${kind}">${kind}: ${result.case.primitive}: ${marked(result.case.name)}</summary><p>${marked(whyOf(result))}</p>${calls}</details>`;
  });
  const over = gone.map(({ primitive, why }) => `<li>${primitive}: ${marked(why)}</li>`);
  const wrong = [...(lost === undefined ? [] : [lost]), ...shortfalls.map(toldShortfall)];
  return `<h2>${marked(way)}, ${(ms / 1000).toFixed(1)} s</h2>
<table><tr><th>primitive</th>${KINDS.map((kind) => `<th>${kind}</th>`).join("")}</tr>${rows.join("")}</table>
${wrong.map((line) => `<p class="failed">${marked(line)}</p>`).join("")}
${over.length > 0 ? `<p>Known deviations that did not happen:</p><ul>${over.join("")}</ul>` : ""}
${cases.join("\n")}`;
}
