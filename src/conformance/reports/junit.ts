import {
  countResults,
  formatShortfall,
  primitivesOf,
  type Report,
  resultReason,
  statusOf,
} from "../report.js";
import { formatCall } from "../run-case.js";
import { escapeMarkup } from "./escape-markup.js";

/** The report as JUnit XML: one suite for each transport and primitive. Known deviations count as skipped. */
export function junitReport({ server, at, runs }: Report): string {
  const suites = runs.flatMap(({ transport, results, lost, shortfalls }) => [
    ...primitivesOf(results).map((primitive) => {
      const own = results.filter((result) => result.case.primitive === primitive);
      const { failed, skipped, deviates } = countResults(own);
      const head = attributes({
        name: `${transport} ${primitive}`,
        hostname: server,
        timestamp: at.toISOString(),
        tests: own.length,
        failures: failed,
        skipped: skipped + deviates,
      });
      const testcases = own.map((result) => testcase(result, `${transport}.${primitive}`));
      return `  <testsuite ${head}>\n${testcases.join("")}  </testsuite>\n`;
    }),
    ...[...(lost === undefined ? [] : [lost]), ...shortfalls.map(formatShortfall)].map((message) => {
      const head = attributes({ name: `${transport} run`, hostname: server, tests: 1, failures: 1 });
      const one = attributes({ classname: transport, name: "the run", time: "0" });
      const failure = `<failure ${attributes({ message })}/>`;
      return `  <testsuite ${head}>\n    <testcase ${one}>${failure}</testcase>\n  </testsuite>\n`;
    }),
  ]);
  return [
    '<?xml version="1.0" encoding="UTF-8"?>\n',
    '<testsuites name="fairlead conformance">\n',
    ...suites,
    "</testsuites>\n",
  ].join("");
}

function testcase(result: Report["runs"][number]["results"][number], classname: string): string {
  const { outcome } = result;
  const time = "ms" in outcome ? (outcome.ms / 1000).toFixed(3) : "0";
  const head = attributes({ classname, name: result.case.name, time });
  const kind = statusOf(result);
  if (kind === "passed") return `    <testcase ${head}/>\n`;
  const message = attributes({ message: resultReason(result) });
  const body =
    outcome.status === "failed" && kind === "failed"
      ? `<failure ${message}>${escapeMarkup(outcome.calls.map(formatCall).join("\n"))}</failure>`
      : `<skipped ${message}/>`;
  return `    <testcase ${head}>${body}</testcase>\n`;
}

const attributes = (all: Record<string, string | number>): string =>
  Object.entries(all)
    .map(([name, value]) => `${name}="${escapeMarkup(String(value))}"`)
    .join(" ");
