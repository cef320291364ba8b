import { Code, ConnectError } from "@connectrpc/connect";
import { AssertionError, type AssertionFacts } from "./expect.js";

/** How a server behaved in a case that failed. */
export interface Failure extends AssertionFacts {
  /** The actual value, if the case compares values. */
  readonly actual?: unknown;
  /** The expected value. */
  readonly expected?: unknown;
  /** Whether an assertion of the case failed, rather than a call or the case itself. */
  readonly isFinding?: boolean;
  /** The text of the failure. It includes the server's message if a call failed. */
  readonly text: string;
}

/** An expected outcome of a case that a server is known to fail. */
export interface Expectation {
  /** A description for the report. */
  readonly description: string;
  /** Whether the failure has this outcome. */
  matches(seen: Failure): boolean;
}

/** The behaviour of the server, from the error of a failed case. */
export function failureOf(error: Error): Failure {
  if (error instanceof ConnectError) return { code: error.code, text: error.message };
  const { message: text } = error;
  if (!(error instanceof AssertionError)) return { text };
  const { actual, expected, facts } = error;
  return actual instanceof ConnectError
    ? { code: actual.code, text }
    : { ...facts, actual, expected, text, isFinding: true };
}

/** The server answers with one of these codes. `unavailable` is not allowed: a server that is gone looks like that. */
export function errorWithCode(...codes: Code[]): Expectation {
  if (codes.includes(Code.Unavailable)) throw new TypeError("unavailable is no expected outcome");
  return {
    description: `fails with ${codes.map((code) => Code[code]).join(" or ")}`,
    matches: ({ code, isDetail }) => code !== undefined && codes.includes(code) && !isDetail,
  };
}

/** The server answers a call that it must refuse. */
export const unexpectedAnswer: Expectation = {
  description: "answers, where it has to refuse",
  matches: ({ isAnswer }) => isAnswer === true,
};

/** The server refuses with the right code, but without the required details. */
export const missingDetails: Expectation = {
  description: "refuses without details",
  matches: ({ isDetail, isFinding, actual, expected }) =>
    isDetail === true || (isFinding === true && actual === undefined && expected !== undefined),
};

/** The server ends a stream early. */
export const earlyEnd: Expectation = {
  description: "ends the stream early",
  matches: ({ isEnd }) => isEnd === true,
};

/** The server does not send a required message in time. */
export const noMessage: Expectation = {
  description: "sends nothing",
  matches: ({ isLate }) => isLate === true,
};

/** The server answers, and the case fails with a message that matches `text`. */
export const finding = (description: string, text: RegExp): Expectation => ({
  description: description,
  matches: (seen) => isOnAnswer(seen) && text.test(seen.text),
});

/** The server answers with a different value for which `matches` is true. */
export const differentValue = (
  description: string,
  holds: (actual: unknown, expected: unknown) => boolean,
): Expectation => ({
  description: description,
  matches: (seen) => isOnAnswer(seen) && holds(seen.actual, seen.expected),
});

/** The server answers with an error of any code whose message matches. A lost connection has no such message. */
export const errorWithMessage = (text: RegExp): Expectation => ({
  description: `says ${text.source}`,
  matches: (seen) => seen.code !== undefined && text.test(seen.text),
});

const isOnAnswer = ({ isFinding, code, isAnswer, isEnd, isLate }: Failure): boolean =>
  isFinding === true && code === undefined && !isAnswer && !isEnd && !isLate;
