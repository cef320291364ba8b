import { AssertionError } from "../expect.js";
import type { RecordedOperation } from "./history.js";

/** Ids that a client received: `count` of them, starting with `first`. */
export interface Ids {
  readonly first: bigint;
  readonly count: number;
}

/** Fails if an id was given twice or, with `inOrder`, if a later call was given a smaller id. */
export function checkIds(
  given: readonly (RecordedOperation<unknown, Ids> & { output: Ids })[],
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

/** The time for which a client knows that it held a lock. */
export interface Hold {
  readonly client: number;
  readonly fence: bigint;
  /** From the response to TryLock until the request to unlock. */
  readonly from: number;
  readonly to: number;
}

/** Fails if two clients held the lock at the same time, or if a later holder did not have a higher fence. */
export function checkHolds(holds: readonly Hold[]): void {
  const inTime = [...holds].sort((a, b) => a.from - b.from);
  for (const [i, hold] of inTime.entries()) {
    const next = inTime[i + 1];
    if (!next) continue;
    if (next.from < hold.to) {
      throw new AssertionError(
        `client ${hold.client} (fence ${hold.fence}) and client ${next.client} (fence ${next.fence}) ` +
          "held the lock at the same time",
      );
    }
    if (next.fence <= hold.fence) {
      throw new AssertionError(`fence ${next.fence} was given after ${hold.fence}, and is not above it`);
    }
  }
}

/** Values that a client appended to a log in one call. */
export interface AppendInput {
  readonly values: readonly string[];
}

export interface OffsetAndValue {
  readonly offset: bigint;
  readonly value: string;
}

/**
 * Fails unless the log holds exactly the appended values. Each value of an acknowledged call is there once, at its
 * offset, next to the others of its call and after all values that were acknowledged before. A call of which the
 * outcome is unknown has added all of its values or none.
 *
 */
export function checkLog(
  operations: readonly RecordedOperation<AppendInput, { first: bigint }>[],
  records: readonly OffsetAndValue[],
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
    (operation): operation is typeof operation & { output: { first: bigint } } => !!operation.output,
  );
  checkOrder(done, ({ output }) => output.first, "offset");
}

function checkAppended(
  { values }: AppendInput,
  output: { first: bigint } | undefined,
  at: ReadonlyMap<string, bigint>,
): void {
  const first = output?.first ?? at.get(values[0] ?? "");
  if (first === undefined) {
    const present = values.find((value) => at.has(value));
    if (present === undefined) return;
    throw new AssertionError(
      `${present} is in the log, and ${values[0]}, which was appended in the same call, is not`,
    );
  }
  for (const [i, value] of values.entries()) {
    const offset = at.get(value);
    if (offset === first + BigInt(i)) continue;
    throw new AssertionError(
      offset === undefined
        ? `${value} was appended at ${first + BigInt(i)}, and is lost`
        : `${value} stands at ${offset}, and was appended at ${first + BigInt(i)}`,
    );
  }
}

/** Fails if a call that began after another had returned was given a smaller number. */
function checkOrder<T extends RecordedOperation<unknown, unknown>>(
  operations: readonly T[],
  numberOf: (operation: T) => bigint,
  kind: string,
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
        `client ${later.client} was given the ${kind} ${numberOf(later)} ` +
          `after client ${highest.client} had been given ${numberOf(highest)}`,
      );
    }
  }
}
