import { Code, ConnectError } from "@connectrpc/connect";

// Assertions for runtimes without `node:assert`. Each error message has both values.

export function equal(actual: unknown, expected: unknown, what: string): void {
  if (Object.is(actual, expected)) return;
  throw new Error(`${what}: expected ${inspect(expected)}, got ${inspect(actual)}`);
}

/** Asserts that `promise` rejects with `code`, and returns the error. */
export async function fails(promise: Promise<unknown>, code: Code, what: string): Promise<ConnectError> {
  const error = await failure(promise, what);
  if (error instanceof ConnectError && error.code === code) return error;
  throw new Error(`${what}: expected Code.${Code[code]}, got ${inspect(error)}`, { cause: error });
}

/** Asserts that `promise` rejects, and returns the error. */
export async function failure(promise: Promise<unknown>, what: string): Promise<unknown> {
  const answer = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ("error" in answer) return answer.error;
  throw new Error(`${what}: expected it to fail, got ${inspect(answer.value)}`);
}

/** The first `count` items. */
export async function take<T>(from: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  for await (const each of from) if (taken.push(each) === count) break;
  return taken;
}

/** Polls until `holds` returns true. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await wait(5);
}

export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function inspect(value: unknown): string {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "object" && value) return JSON.stringify(value);
  return typeof value === "bigint" ? `${value}n` : String(value);
}
