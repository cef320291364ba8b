import { hasReturned, type RecordedOperation } from "./history.js";

/** The sequential specification of an object. */
export interface Model<S, I, O> {
  readonly initial: S;
  /**
   * The state after an operation, or undefined if the operation cannot return `output` in `state`. `output` is
   * undefined if it is not known.
   *
   */
  apply(state: S, input: I, output: O | undefined): { state: S } | undefined;
  /** A text that is equal for equal states. */
  key(state: S): string;
}

/**
 * Searches for a linearization: an order in which each operation takes effect at one moment between its call and its
 * return, and in which `model` returns the same outputs. An operation of which the effect is unknown may come at any
 * time after its call, or never. Returns undefined if there is such an order, otherwise the operations of which none
 * could come next.
 *
 * The search backtracks at each return of an operation that was not ordered yet (Wing and Gong), and visits no state
 * twice with the same set of operations done (Lowe).
 *
 */
export function findViolation<S, I, O>(
  operations: readonly RecordedOperation<I, O>[],
  model: Model<S, I, O>,
): readonly RecordedOperation<I, O>[] | undefined {
  const line = new Timeline(operations);
  const seen = new Set<string>();
  const done: { entry: Entry<I, O>; state: S }[] = [];
  let bits = 0n;
  let { initial: state } = model;
  let furthest = -1;
  let stuck: readonly RecordedOperation<I, O>[] = [];
  let entry = line.first;
  while (line.mustFollow > 0) {
    if (entry?.isCall) {
      const { operation, bit } = entry;
      const next = model.apply(state, operation.input, hasReturned(operation) ? operation.output : undefined);
      const key = next && `${(bits | bit).toString(36)} ${model.key(next.state)}`;
      if (!next || !key || seen.has(key)) {
        entry = entry.next;
        continue;
      }
      seen.add(key);
      done.push({ entry, state });
      bits |= bit;
      state = next.state;
      line.take(entry);
      entry = line.first;
      continue;
    }
    // An operation has returned that has no place in this order yet: backtrack.
    if (done.length > furthest) {
      furthest = done.length;
      stuck = line.before(entry);
    }
    const last = done.pop();
    if (!last) return stuck;
    bits &= ~last.entry.bit;
    state = last.state;
    line.putBack(last.entry);
    entry = last.entry.next;
  }
  return undefined;
}

/** The call or the return of an operation. */
interface Entry<I, O> {
  readonly operation: RecordedOperation<I, O>;
  readonly isCall: boolean;
  readonly bit: bigint;
  /** The return, if this is the call of an operation that has returned. */
  end?: Entry<I, O>;
  previous?: Entry<I, O> | undefined;
  next?: Entry<I, O> | undefined;
}

/** Calls and returns in their order, without those of operations that were taken out. */
class Timeline<I, O> {
  /** The number of operations that have returned and are not taken out. */
  mustFollow = 0;
  #first: Entry<I, O> | undefined;

  constructor(operations: readonly RecordedOperation<I, O>[]) {
    const entries: { at: number; entry: Entry<I, O> }[] = [];
    for (const [i, operation] of operations.entries()) {
      const call: Entry<I, O> = { operation, isCall: true, bit: 1n << BigInt(i) };
      entries.push({ at: operation.calledAt, entry: call });
      if (!hasReturned(operation)) continue;
      call.end = { operation, isCall: false, bit: call.bit };
      entries.push({ at: operation.returnedAt, entry: call.end });
      this.mustFollow++;
    }
    entries.sort((a, b) => a.at - b.at);
    for (const [i, { entry }] of entries.entries()) {
      entry.previous = entries[i - 1]?.entry;
      entry.next = entries[i + 1]?.entry;
    }
    this.#first = entries[0]?.entry;
  }

  get first(): Entry<I, O> | undefined {
    return this.#first;
  }

  take(call: Entry<I, O>): void {
    this.#unlink(call);
    if (!call.end) return;
    this.#unlink(call.end);
    this.mustFollow--;
  }

  /** Undoes the last take(). */
  putBack(call: Entry<I, O>): void {
    if (call.end) {
      this.#link(call.end);
      this.mustFollow++;
    }
    this.#link(call);
  }

  /** The operations that were called before `entry`. */
  before(entry: Entry<I, O> | undefined): RecordedOperation<I, O>[] {
    const operations: RecordedOperation<I, O>[] = [];
    for (let at = this.#first; at && at !== entry; at = at.next) if (at.isCall) operations.push(at.operation);
    return operations;
  }

  #unlink(entry: Entry<I, O>): void {
    if (entry.previous) entry.previous.next = entry.next;
    else this.#first = entry.next;
    if (entry.next) entry.next.previous = entry.previous;
  }

  #link(entry: Entry<I, O>): void {
    if (entry.previous) entry.previous.next = entry;
    else this.#first = entry;
    if (entry.next) entry.next.previous = entry;
  }
}
