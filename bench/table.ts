/** A row: a measured value, and its goal as a lower or upper bound. */
type Goal = { atMost: number } | { atLeast: number };

export interface Row {
  what: string;
  /** The value that is compared with the goal; if there are several, each of them. */
  ratio: number | readonly number[];
  /** Default: the row has no goal. */
  goal?: Goal;
  /** The absolute figures. */
  detail: string;
  /** Formats `ratio`. Default: as a ratio, "1.02 ×". */
  shown?: string;
}

const met = ({ ratio, goal }: Row): boolean =>
  !goal || [ratio].flat().every((each) => ("atMost" in goal ? each <= goal.atMost : each >= goal.atLeast));

/** Prints rows as a Markdown table. Returns true if every goal is met. */
export function print(title: string, rows: readonly Row[]): boolean {
  console.log(`\n### ${title}\n\n| what | measured | goal | | figures |\n|---|---|---|---|---|`);
  for (const row of rows) {
    const {
      what,
      ratio,
      goal,
      detail,
      shown = [ratio]
        .flat()
        .map((each) => `${each.toFixed(2)} ×`)
        .join(", "),
    } = row;
    const limit = !goal ? "" : "atMost" in goal ? `≤ ${goal.atMost}` : `≥ ${goal.atLeast}`;
    console.log(
      `| ${what} | ${shown} | ${limit} | ${!goal ? "" : met(row) ? "met" : "missed"} | ${detail} |`,
    );
  }
  return rows.every(met);
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

/** The quantile `part` of the numbers, such as 0.5 or 0.99. */
export function percentile(numbers: readonly number[], part: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/**
 * The median of the ratios of two measurements. They alternate (ours, theirs, theirs, ours, …), so that other load on the
 * machine affects both. The first round is a warm-up and does not count, unless each starts in a `fresh` process.
 */
export async function compare<T>(
  rounds: number,
  ours: () => Promise<T>,
  theirs: () => Promise<T>,
  by: (ours: T, theirs: T) => number,
  { fresh = false } = {},
): Promise<{ ratio: number; ours: T[]; theirs: T[] }> {
  const all: { ours: T[]; theirs: T[] } = { ours: [], theirs: [] };
  for (let round = fresh ? 0 : -1; round < rounds; round++) {
    const first = round % 2 ? theirs : ours;
    const a = await first();
    const b = await (first === ours ? theirs : ours)();
    const [mine, other] = first === ours ? [a, b] : [b, a];
    if (round < 0) continue;
    all.ours.push(mine);
    all.theirs.push(other);
  }
  const ratios = all.ours.map((mine, i) => by(mine, all.theirs[i] as T));
  return { ratio: median(ratios), ...all };
}
