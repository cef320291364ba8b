import { AssertionError } from "../expect.js";
import type { Operation } from "./history.js";

/** Ids that a client was given: `count` from `first` on. */
export interface Ids {
  readonly first: bigint;
  readonly count: number;
}

/** Fails unless no id was given twice; with `inOrder` also where a later call was given a smaller one. */
export function checkIds(
  given: readonly (Operation<unknown, Ids> & { output: Ids })[],
  inOrder: boolean,
): void {
  const byId = [...given].sort((a, b) => (a.output.first < b.output.first ? -1 : 1));
  for (const [i, { output, client }] of byId.entries()) {
    const next = byId[i + 1];
    if (!next || next.output.first >= output.first + BigInt(output.count)) continue;
    throw new AssertionError(
      `client ${client} and client ${next.client} were both given ${next.output.first}`,
    );
  }
  if (inOrder) checkOrder(given, ({ output }) => output.first, "id");
}

/** What a holder of a lock knows of its time with it. */
export interface Hold {
  readonly client: number;
  readonly fence: bigint;
  /** When it knew that it had it, and when it began to give it back. */
  readonly from: number;
  readonly to: number;
}

/** Fails where two held the lock at the same time, or a later holder had no higher fence. */
export function checkHolds(holds: readonly Hold[]): void {
  const inTime = [...holds].sort((a, b) => a.from - b.from);
  for (const [i, hold] of inTime.entries()) {
    const next = inTime[i + 1];
    if (!next) continue;
    if (next.from < hold.to) {
      throw new AssertionError(
        `client ${hold.client} (fence ${hold.fence}) and client ${next.client} (fence ${next.fence}) held the lock at the same time`,
      );
    }
    if (next.fence <= hold.fence) {
      throw new AssertionError(`fence ${next.fence} was given after ${hold.fence}, and is not above it`);
    }
  }
}

/** Values that a client appended to a log in one call, and where they were told to stand. */
export interface Appended {
  readonly values: readonly string[];
}

export interface LogRecord {
  readonly offset: bigint;
  readonly value: string;
}

/**
 * Fails unless the log holds what was appended: each value of an acknowledged call once, at its offset, beside those of
 * the same call, and behind what had been acknowledged before; of a call that may have been done all or nothing; and
 * nothing else.
 */
export function checkLog(
  operations: readonly Operation<Appended, { first: bigint }>[],
  records: readonly LogRecord[],
): void {
  for (const [i, { offset }] of records.entries()) {
    const before = records[i - 1];
    if (before && offset !== before.offset + 1n) {
      throw new AssertionError(`offset ${offset} comes behind ${before.offset}: there is a gap or a repeat`);
    }
  }
  const at = new Map<string, bigint>();
  for (const { offset, value } of records) {
    const other = at.get(value);
    if (other !== undefined)
      throw new AssertionError(`${value} stands at ${other} and at ${offset}: it was appended once`);
    at.set(value, offset);
  }
  const known = new Set<string>();
  for (const { input, output } of operations) {
    checkAppended(input, output, at);
    for (const value of input.values) known.add(value);
  }
  for (const value of at.keys())
    if (!known.has(value)) throw new AssertionError(`${value} was never appended`);
  const done = operations.filter(
    (each): each is typeof each & { output: { first: bigint } } => !!each.output,
  );
  checkOrder(done, ({ output }) => output.first, "offset");
}

function checkAppended(
  { values }: Appended,
  output: { first: bigint } | undefined,
  at: ReadonlyMap<string, bigint>,
): void {
  const first = output?.first ?? at.get(values[0] ?? "");
  if (first === undefined) {
    const half = values.find((value) => at.has(value));
    if (half === undefined) return;
    throw new AssertionError(
      `${half} is in the log, and ${values[0]}, which was appended in the same call, is not`,
    );
  }
  for (const [i, value] of values.entries()) {
    const found = at.get(value);
    if (found === first + BigInt(i)) continue;
    throw new AssertionError(
      found === undefined
        ? `${value} was appended at ${first + BigInt(i)}, and is lost`
        : `${value} stands at ${found}, and was appended at ${first + BigInt(i)}`,
    );
  }
}

/** Fails where a call that began after another had returned was given a smaller number. */
function checkOrder<T extends Operation<unknown, unknown>>(
  operations: readonly T[],
  numberOf: (operation: T) => bigint,
  what: string,
): void {
  const byReturn = [...operations].sort((a, b) => a.returnedAt - b.returnedAt);
  const byCall = [...operations].sort((a, b) => a.calledAt - b.calledAt);
  let highest: T | undefined;
  let i = 0;
  for (const later of byCall) {
    for (; (byReturn[i]?.returnedAt ?? Number.POSITIVE_INFINITY) < later.calledAt; i++) {
      const returned = byReturn[i] as T;
      if (!highest || numberOf(returned) > numberOf(highest)) highest = returned;
    }
    if (highest && numberOf(later) < numberOf(highest)) {
      throw new AssertionError(
        `client ${later.client} was given the ${what} ${numberOf(later)} after client ${highest.client} had been given ${numberOf(highest)}`,
      );
    }
  }
}
