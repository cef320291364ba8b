import type { CaseResult } from "./suite/case.js";

const BEGIN = "<!-- runtimes: made by npm run test:runtimes -- --write -->";
const END = "<!-- /runtimes -->";

/** `page` with `table` between its markers. */
export function withTable(page: string, table: string): string {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`docs/runtimes.md has no "${BEGIN}" with a "${END}" after it`);
  return `${page.slice(0, from)}${BEGIN}\n${table}\n${page.slice(to)}`;
}

/**
 * A table of runtimes by transports, with the number of primitives that work. A note for each reason why cases were
 * skipped names their primitives.
 */
export function table(results: readonly CaseResult[]): string {
  const runtimes = distinct(results.map(({ runtime }) => runtime));
  const transports = distinct(results.map(({ transport }) => transport));
  const primitives = distinct(results.map(({ primitive }) => primitive)).length;
  const notes: string[] = [];
  const cell = (runtime: string, transport: string): string => {
    const cases = results.filter((each) => each.runtime === runtime && each.transport === transport);
    if (cases.length === 0) return "–";
    const works = (primitive: string) => {
      const outcomes = cases.filter((each) => each.primitive === primitive).map(({ outcome }) => outcome);
      return outcomes.includes("ok") && !outcomes.includes("failed");
    };
    const count = distinct(cases.map(({ primitive }) => primitive)).filter(works).length;
    const numbers = notesOf(cases).map((note) => {
      if (!notes.includes(note)) notes.push(note);
      return notes.indexOf(note) + 1;
    });
    const marks = numbers.map((n) => `<sup>${n}</sup>`).join(" ");
    return `${count === 0 ? "–" : count === primitives ? "all" : `${count} of ${primitives}`}${marks}`;
  };
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  const rows = runtimes.map((runtime) => line([runtime, ...transports.map((each) => cell(runtime, each))]));
  return [
    line(["", ...transports]),
    line(["---", ...transports.map(() => "---")]),
    ...rows,
    "",
    ...notes.map((note, i) => `${i + 1}. ${note}`),
  ].join("\n");
}

/** A note for each reason why cases were skipped, with their primitives unless all cases were skipped. */
function notesOf(cases: readonly CaseResult[]): string[] {
  const skipped = cases.filter(({ outcome }) => outcome === "skipped");
  return distinct(skipped.map(({ reason }) => reason ?? "")).map((reason) => {
    const of = skipped.filter((each) => each.reason === reason);
    if (of.length === cases.length) return `${reason}.`;
    return `All or some of ${distinct(of.map(({ primitive }) => primitive)).join(", ")}: ${reason}.`;
  });
}

const distinct = <T>(values: readonly T[]): T[] => [...new Set(values)];
