import type { RecordedOperation } from "../../src/conformance/history/history.js";
import { findViolation, type Model } from "../../src/conformance/history/linearizable.js";

/** A call of a versioned map. `condition`: the version that the entry must have, or "absent"; undefined: none. */
export type MapCall =
  | { readonly do: "get"; readonly key: string }
  | {
      readonly do: "put";
      readonly key: string;
      /** No two puts write the same value. */
      readonly value: string;
      readonly condition?: bigint | "absent" | undefined;
    }
  | { readonly do: "remove"; readonly key: string; readonly condition?: bigint | undefined };

/** What a call returned: the entry that was read or removed, the version of a put, or a conflict. */
export type MapOutcome =
  | { readonly entry: { readonly value: string; readonly version: bigint } | undefined }
  | { readonly version: bigint }
  /** `actual` is the version of the present entry; 0n: there is none. */
  | { readonly conflict: true; readonly actual: bigint | undefined };

export type MapOperation = RecordedOperation<MapCall, MapOutcome>;

/** One entry: its value, undefined if there is none, and the highest version that the key has had. */
interface EntryState {
  readonly value: string | undefined;
  /** Undefined: nobody has seen the version. */
  readonly version: bigint | undefined;
  readonly highest: bigint;
}

/** What is wrong with a history, and the operations that show it. */
export interface Violation {
  readonly key: string;
  readonly why: string;
  readonly operations: readonly MapOperation[];
}

/**
 * Everything that is wrong with the operations on one partition: each key must be linearizable, and the versions of all
 * keys must grow in the order of the calls.
 */
export function findMapViolations(operations: readonly MapOperation[]): Violation[] {
  const byKey = new Map<string, MapOperation[]>();
  for (const operation of operations) {
    const { key } = operation.input;
    byKey.set(key, [...(byKey.get(key) ?? []), operation]);
  }
  const ofKeys = [...byKey].map(([key, ofKey]) => findKeyViolation(key, ofKey));
  return [...ofKeys, findVersionViolation(operations)].filter((violation) => violation !== undefined);
}

function findKeyViolation(key: string, operations: readonly MapOperation[]): Violation | undefined {
  const versions = new Map<string, bigint>();
  for (const { input, output } of operations) {
    const seen = seenEntry(input, output);
    if (!seen) continue;
    const known = versions.get(seen.value);
    if (known !== undefined && known !== seen.version)
      return { key, why: `${seen.value} has two versions, ${known} and ${seen.version}`, operations };
    versions.set(seen.value, seen.version);
  }
  const needed = withoutUnseenPuts(operations, versions);
  const stuck = findViolation(needed, entryModel(versions));
  if (!stuck) return undefined;
  const numbers = stuck.map(({ calledAt }) => calledAt).join(", ");
  return { key, why: `not linearizable: none of the calls ${numbers} can come next`, operations };
}

/** The value and the version that an outcome shows together. */
function seenEntry(
  input: MapCall,
  output: MapOutcome | undefined,
): { value: string; version: bigint } | undefined {
  if (!output) return undefined;
  if ("entry" in output) return output.entry;
  if ("version" in output && input.do === "put") return { value: input.value, version: output.version };
  return undefined;
}

/**
 * The operations without puts of which nobody knows the outcome and nobody saw the value: they may never have happened.
 * They are needed only to explain a conflict with a version that no known value has. Without them the search is short.
 */
function withoutUnseenPuts(
  operations: readonly MapOperation[],
  versions: ReadonlyMap<string, bigint>,
): readonly MapOperation[] {
  const known = new Set(versions.values()).add(0n);
  const hasUnexplained = operations.some(
    ({ output }) =>
      output && "conflict" in output && (output.actual === undefined || !known.has(output.actual)),
  );
  if (hasUnexplained) return operations;
  return operations.filter(({ input, output }) => output || input.do !== "put" || versions.has(input.value));
}

const entryModel = (versions: ReadonlyMap<string, bigint>): Model<EntryState, MapCall, MapOutcome> => ({
  initial: { value: undefined, version: undefined, highest: 0n },
  key: ({ value, highest }) => `${value} ${highest}`,
  apply(state, call, outcome) {
    if (call.do === "get") return isEntry(state, outcome) ? { state } : undefined;
    const holds = conditionHolds(state, call.condition);
    if (outcome && "conflict" in outcome)
      return !holds && isActual(state, outcome.actual) ? { state } : undefined;
    // An unknown outcome may also be a conflict. A known one was done.
    if (!holds) return outcome ? undefined : { state };
    if (call.do === "remove") {
      if (!isEntry(state, outcome)) return undefined;
      return { state: { ...state, value: undefined, version: undefined } };
    }
    const version = versions.get(call.value);
    if (version !== undefined && version <= state.highest) return undefined;
    return { state: { value: call.value, version, highest: version ?? state.highest } };
  },
});

function isEntry({ value }: EntryState, outcome: MapOutcome | undefined): boolean {
  return !outcome || ("entry" in outcome && outcome.entry?.value === value);
}

function conditionHolds({ value, version }: EntryState, condition: bigint | "absent" | undefined): boolean {
  if (condition === undefined) return true;
  if (condition === "absent") return value === undefined;
  // A caller knows a version only from an outcome, so that it is not the version that nobody has seen.
  return value !== undefined && version === condition;
}

function isActual({ value, version }: EntryState, actual: bigint | undefined): boolean {
  if (actual === undefined) return true;
  if (value === undefined) return actual === 0n;
  return version === undefined ? actual > 0n : version === actual;
}

/** Versions of one partition: none is given twice, and a call that began after another had returned gets a higher one. */
function findVersionViolation(operations: readonly MapOperation[]): Violation | undefined {
  const puts = operations.flatMap((operation) =>
    operation.output && "version" in operation.output
      ? [{ operation, version: operation.output.version }]
      : [],
  );
  const byReturn = [...puts].sort((a, b) => a.operation.returnedAt - b.operation.returnedAt);
  let highest: (typeof puts)[number] | undefined;
  let i = 0;
  for (const later of puts.sort((a, b) => a.operation.calledAt - b.operation.calledAt)) {
    for (; (byReturn[i]?.operation.returnedAt ?? Number.POSITIVE_INFINITY) < later.operation.calledAt; i++) {
      const returned = byReturn[i] as (typeof puts)[number];
      if (!highest || returned.version > highest.version) highest = returned;
    }
    if (highest && later.version <= highest.version) {
      const why = `the version ${later.version} came after ${highest.version}`;
      return { key: later.operation.input.key, why, operations: [highest.operation, later.operation] };
    }
  }
  const byVersion = new Map<bigint, MapOperation>();
  for (const { operation, version } of puts) {
    const other = byVersion.get(version);
    if (other)
      return {
        key: operation.input.key,
        why: `two writes have the version ${version}`,
        operations: [other, operation],
      };
    byVersion.set(version, operation);
  }
  return undefined;
}
