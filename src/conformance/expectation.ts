import { Code, ConnectError } from "@connectrpc/connect";
import { AssertionError, type AssertionFacts } from "./expect.js";

/** How a server behaved in a case that failed. */
export interface Failure extends AssertionFacts {
  /** What the case got, where it compares values. */
  readonly actual?: unknown;
  /** What it wanted. */
  readonly expected?: unknown;
  /** Whether it is the case that found something wrong: neither an error of the server, nor a fault of the case itself. */
  readonly isFinding?: boolean;
  /** The text of the failure, with the server's own message where it answered with an error. */
  readonly text: string;
}

/** What a server is expected to do in a case that it is known to fail. */
export interface Expectation {
  /** In words, for a report. */
  readonly description: string;
  /** Whether this is what happened. */
  matches(seen: Failure): boolean;
}

/** How the server behaved, from the error that a case failed with. */
export function failureOf(error: Error): Failure {
  if (error instanceof ConnectError) return { code: error.code, text: error.message };
  const { message: text } = error;
  if (!(error instanceof AssertionError)) return { text };
  const { actual, expected, facts } = error;
  return actual instanceof ConnectError
    ? { code: actual.code, text }
    : { ...facts, actual, expected, text, isFinding: true };
}

/** It answers with one of these codes. None of them may be `unavailable`: that is what a server that is gone looks like. */
export function errorWithCode(...codes: Code[]): Expectation {
  if (codes.includes(Code.Unavailable)) throw new TypeError("unavailable is no expected outcome");
  return {
    description: `fails with ${codes.map((code) => Code[code]).join(" or ")}`,
    matches: ({ code, isDetail }) => code !== undefined && codes.includes(code) && !isDetail,
  };
}

/** It answers where it has to refuse. */
export const unexpectedAnswer: Expectation = {
  description: "answers, where it has to refuse",
  matches: ({ isAnswer }) => isAnswer === true,
};

/** It refuses with the right code, and without the details that the error has to have. */
export const missingDetails: Expectation = {
  description: "refuses without details",
  matches: ({ isDetail, isFinding, actual, expected }) =>
    isDetail === true || (isFinding === true && actual === undefined && expected !== undefined),
};

/** A stream ends early. */
export const earlyEnd: Expectation = {
  description: "ends the stream early",
  matches: ({ isEnd }) => isEnd === true,
};

/** Something that has to come does not. */
export const noMessage: Expectation = {
  description: "sends nothing",
  matches: ({ isLate }) => isLate === true,
};

/** It answers, and the text of what the case finds wrong fits. */
export const finding = (what: string, text: RegExp): Expectation => ({
  description: what,
  matches: (seen) => isOnAnswer(seen) && text.test(seen.text),
});

/** It answers with another value, for which `holds` is true. */
export const differentValue = (
  what: string,
  holds: (actual: unknown, expected: unknown) => boolean,
): Expectation => ({
  description: what,
  matches: (seen) => isOnAnswer(seen) && holds(seen.actual, seen.expected),
});

/** It answers with an error whose text fits, whatever its code. A connection that is lost has no such text. */
export const errorWithMessage = (text: RegExp): Expectation => ({
  description: `says ${text.source}`,
  matches: (seen) => seen.code !== undefined && text.test(seen.text),
});

const isOnAnswer = ({ isFinding, code, isAnswer, isEnd, isLate }: Failure): boolean =>
  isFinding === true && code === undefined && !isAnswer && !isEnd && !isLate;
