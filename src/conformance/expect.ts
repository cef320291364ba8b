import type { Code } from "@connectrpc/connect";

/** The behaviour of the server that made an assertion fail. */
export interface AssertionFacts {
  /** The code of the error that the server answered with. */
  readonly code?: Code;
  /** Whether it answered a call that it must refuse. */
  readonly isAnswer?: boolean;
  /** Whether its error has the right code, but a wrong message or wrong details. */
  readonly isDetail?: boolean;
  /** Whether nothing came in time. */
  readonly isLate?: boolean;
  /** Whether a stream ended too early. */
  readonly isEnd?: boolean;
}

/** A failed assertion of a case. Test runners show the difference between `actual` and `expected`. */
export class AssertionError extends Error {
  readonly actual: unknown;
  readonly expected: unknown;
  readonly facts: AssertionFacts;

  constructor(message: string, actual?: unknown, expected?: unknown, facts: AssertionFacts = {}) {
    super(message);
    this.name = "AssertionError";
    this.actual = actual;
    this.expected = expected;
    this.facts = facts;
  }
}

/** Fails unless both are deeply equal. An undefined field equals a missing one. */
export function equal(actual: unknown, expected: unknown, subject = "the value"): void {
  if (isSame(actual, expected)) return;
  throw new AssertionError(
    `${subject}: expected ${formatValue(expected)}, got ${formatValue(actual)}`,
    actual,
    expected,
  );
}

/** Fails unless `holds`. */
export function ok(holds: unknown, subject: string): asserts holds {
  if (!holds) throw new AssertionError(`not true: ${subject}`, holds, true);
}

/** Fails unless `run` rejects or throws an error for which `is` is true. Returns the error. */
export async function rejects(
  run: () => Promise<unknown>,
  is: (error: unknown) => boolean = () => true,
  subject = "the call",
): Promise<unknown> {
  let result: unknown;
  try {
    result = await run();
  } catch (error) {
    if (is(error)) return error;
    throw new AssertionError(`${subject}: failed with another error: ${String(error)}`, error);
  }
  throw new AssertionError(`${subject}: expected an error, got ${formatValue(result)}`, result);
}

/** Settles as `promise` does, and fails if that takes longer than `ms`. */
export async function within<T>(ms: number, promise: Promise<T>, subject: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new AssertionError(`${subject}: not done after ${ms} ms`, undefined, undefined, { isLate: true }),
        ),
      ms,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return areSameBytes(a, b);
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => isSame(item, b[i]));
  }
  if (!isRecord(a) || !isRecord(b)) return false;
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((name) => isSame(a[name], b[name]));
}

function areSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Whether `value` is an object that is compared by its fields. */
const isRecord = (value: unknown): value is Record<string, unknown> =>
  Object.prototype.toString.call(value) === "[object Object]";

/** `value` as text on one line, at most 500 characters. */
export function formatValue(value: unknown): string {
  const text = JSON.stringify(value, (_, part: unknown) => {
    if (typeof part === "bigint") return `${part}n`;
    if (part instanceof Uint8Array) return `${part.length} bytes: ${hex(part.subarray(0, 32))}`;
    return part;
  });
  const line = text ?? String(value);
  return line.length > 500 ? `${line.slice(0, 500)}…` : line;
}

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
