import { Code, ConnectError } from "@connectrpc/connect";
import { isUncertain, type RecordedOperation } from "../../src/conformance/history/history.js";
import { EngineFault } from "../../src/server/engine.js";

/**
 * One operation of one client, or what a client observed. Times are microseconds of the machine's monotonic clock, which
 * all processes share.
 */
export interface Operation {
  /** The workload that it belongs to. */
  workload: string;
  client: string;
  /** What was done: the workload's own word. */
  kind: string;
  key: string;
  input: unknown;
  calledAt: number;
  returnedAt: number;
  /** "refused": certainly not done. "unknown": perhaps done, at any time since the call. */
  outcome: "ok" | "refused" | "unknown";
  output: unknown;
  /** The error's code and message, unless it is ok. */
  error?: string;
  /** Whether the error is one that no fault explains. */
  isUnexpected?: boolean;
}

/** Microseconds of the clock that all processes of this machine share. */
export const nowMicros = (): number => Number(process.hrtime.bigint() / 1000n);

/** Codes of errors by which a server says that it has a fault of its own. */
const UNEXPECTED: ReadonlySet<Code> = new Set([
  Code.Internal,
  Code.Unknown,
  Code.Unimplemented,
  Code.DataLoss,
]);

/** Runs operations and records them. */
export class Recorder {
  readonly #client: string;
  readonly #sink: (operation: Operation) => void;

  constructor(client: string, sink: (operation: Operation) => void) {
    this.#client = client;
    this.#sink = sink;
  }

  /** Records what `run` does, and returns its output: undefined if it failed. */
  async call<O>(
    { workload, kind, key = "", input }: { workload: string; kind: string; key?: string; input?: unknown },
    run: () => Promise<O>,
  ): Promise<O | undefined> {
    const calledAt = nowMicros();
    const done = (outcome: Operation["outcome"], output: unknown, failure: Partial<Operation> = {}) =>
      this.#sink({
        ...{ workload, client: this.#client, kind, key, input },
        ...{ calledAt, returnedAt: nowMicros(), outcome, output, ...failure },
      });
    try {
      const output = await run();
      done("ok", output);
      return output;
    } catch (error) {
      done(outcomeOf(error), undefined, { error: String(error), isUnexpected: isUnexpected(error) });
      return undefined;
    }
  }

  /** Records what was observed now, or from `calledAt` until `returnedAt`. */
  note(
    { workload, kind, key = "", input }: { workload: string; kind: string; key?: string; input: unknown },
    times?: { calledAt: number; returnedAt: number },
  ): void {
    const at = nowMicros();
    const { calledAt, returnedAt } = times ?? { calledAt: at, returnedAt: at };
    const client = this.#client;
    this.#sink({
      workload,
      client,
      kind,
      key,
      input,
      calledAt,
      returnedAt,
      outcome: "ok",
      output: undefined,
    });
  }
}

function outcomeOf(error: unknown): Operation["outcome"] {
  if (error instanceof EngineFault) return error.reason === "full" ? "refused" : "unknown";
  return isUncertain(error) ? "unknown" : "refused";
}

const isUnexpected = (error: unknown): boolean =>
  !(error instanceof EngineFault) && UNEXPECTED.has(ConnectError.from(error).code);

/** The operation for the checkers of the conformance suite: without an end if its outcome is unknown. */
export function toRecorded<I, O>(
  { client, calledAt, returnedAt, outcome }: Operation,
  input: I,
  output: O,
): RecordedOperation<I, O> {
  const isKnown = outcome === "ok";
  return {
    client: Number(client.replace(/\D/g, "")),
    input,
    calledAt,
    returnedAt: isKnown ? returnedAt : Number.POSITIVE_INFINITY,
    output: isKnown ? output : undefined,
  };
}

/** Groups `items` by the text that `keyOf` returns. */
export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return groups;
}
