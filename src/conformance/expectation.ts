import { Code, ConnectError } from "@connectrpc/connect";
import { Unmet, type UnmetFacts } from "./expect.js";

/** How a server behaved in a case that failed. */
export interface Failure extends UnmetFacts {
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
  readonly what: string;
  /** Whether this is what happened. */
  holds(seen: Failure): boolean;
}

/** How the server behaved, from the error that a case failed with. */
export function seenIn(error: Error): Failure {
  if (error instanceof ConnectError) return { code: error.code, text: error.message };
  const { message: text } = error;
  if (!(error instanceof Unmet)) return { text };
  const { actual, expected, facts } = error;
  return actual instanceof ConnectError
    ? { code: actual.code, text }
    : { ...facts, actual, expected, text, isFinding: true };
}

/** It answers with one of these codes. None of them may be `unavailable`: that is what a server that is gone looks like. */
export function failsWith(...codes: Code[]): Expectation {
  if (codes.includes(Code.Unavailable)) throw new TypeError("unavailable is no expected outcome");
  return {
    what: `fails with ${codes.map((code) => Code[code]).join(" or ")}`,
    holds: ({ code, isDetail }) => code !== undefined && codes.includes(code) && !isDetail,
  };
}

/** It answers where it has to refuse. */
export const answers: Expectation = {
  what: "answers, where it has to refuse",
  holds: ({ isAnswer }) => isAnswer === true,
};

/** It refuses with the right code, and without the details that the error has to have. */
export const lacksDetails: Expectation = {
  what: "refuses without details",
  holds: ({ isDetail, isFinding, actual, expected }) =>
    isDetail === true || (isFinding === true && actual === undefined && expected !== undefined),
};

/** A stream ends early. */
export const endsEarly: Expectation = {
  what: "ends the stream early",
  holds: ({ isEnd }) => isEnd === true,
};

/** Something that has to come does not. */
export const sendsNothing: Expectation = {
  what: "sends nothing",
  holds: ({ isLate }) => isLate === true,
};

/** It answers, and the text of what the case finds wrong fits. */
export const finds = (what: string, text: RegExp): Expectation => ({
  what,
  holds: (seen) => isOnAnswer(seen) && text.test(seen.text),
});

/** It answers with another value, for which `holds` is true. */
export const gives = (what: string, holds: (actual: unknown, expected: unknown) => boolean): Expectation => ({
  what,
  holds: (seen) => isOnAnswer(seen) && holds(seen.actual, seen.expected),
});

/** It answers with an error whose text fits, whatever its code. A connection that is lost has no such text. */
export const says = (text: RegExp): Expectation => ({
  what: `says ${text.source}`,
  holds: (seen) => seen.code !== undefined && text.test(seen.text),
});

const isOnAnswer = ({ isFinding, code, isAnswer, isEnd, isLate }: Failure): boolean =>
  isFinding === true && code === undefined && !isAnswer && !isEnd && !isLate;
