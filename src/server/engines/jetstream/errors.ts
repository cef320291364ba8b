import { EngineFault } from "../../engine.js";

/** The cluster cannot be used: it is too old, weaker than asked, or cannot be reached. The message says what to change. */
export class ClusterError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ClusterError";
  }
}

/** A message was not stored, as its subject's last message is another one than its condition says. */
export class ConditionError extends Error {
  /**
   * The sequence of the subject's last message, 0 if it has none. Undefined if a write to the subject is in process, so
   * that the same message may be stored later.
   */
  readonly lastSequence: number | undefined;

  constructor(message: string, lastSequence?: number) {
    super(message);
    this.name = "ConditionError";
    this.lastSequence = lastSequence;
  }
}

/** The error of an API response. */
export interface ApiError {
  code: number;
  err_code?: number;
  description?: string;
}

/** The error of a JetStream API response that is neither a condition, a full stream, nor transient. */
export class ApiResponseError extends Error {
  readonly code: number;

  constructor({ err_code = 0, description = "" }: ApiError) {
    super(`JetStream refused the request: ${description} (${err_code})`);
    this.name = "ApiResponseError";
    this.code = err_code;
  }
}

/** The error codes of nats-server (server/errors.json) that the engine distinguishes. */
export const API_CODES = {
  tooFewNodes: 10_005,
  consumerNotFound: 10_014,
  consumerExists: 10_148,
  messageNotFound: 10_037,
  streamNotFound: 10_059,
  batchIncomplete: 10_176,
  batchHasDuplicate: 10_201,
} as const;

/** The last message of the subject is another one, which the description names, or a write to it is in process. */
const CONDITIONS = new Set([10_071, 10_164]);

/** The stream has no room, or the account or the disk of the cluster. */
const FULL = new Set([10_023, 10_028, 10_047, 10_077]);

/** There is no leader now, the leader is overloaded, or the same message is in process. */
const TRANSIENT = new Set([10_008, 10_009, 10_158, 10_167, 10_210, 10_211]);

/** The error to throw for an API response's error; undefined if the same request may succeed soon. */
export function responseErrorOf(error: ApiError): Error | undefined {
  const code = error.err_code ?? 0;
  const description = error.description ?? "";
  if (CONDITIONS.has(code)) {
    const last = /: (\d+)$/.exec(description)?.[1];
    return new ConditionError(description, last === undefined ? undefined : Number(last));
  }
  if (TRANSIENT.has(code) || (code === 0 && error.code === 503)) return undefined;
  if (FULL.has(code)) return new EngineFault("full", `the cluster has no room: ${description}`);
  return new ApiResponseError(error);
}
