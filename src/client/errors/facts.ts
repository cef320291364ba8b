import type { Message } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import type { ConflictFacts } from "../errors.js";

/** Whether `error` is a ConnectError of one of these codes. */
export const hasCode = (error: unknown, ...codes: Code[]): boolean =>
  error instanceof ConnectError && codes.includes(error.code);

/** The implementation of the public conflictFacts(). */
export function conflictIn(error: unknown): ConflictFacts | undefined {
  const facts = hasCode(error, Code.Aborted) ? infoIn(error) : undefined;
  if (!facts) return undefined;
  const { key = "", etag, version, fence } = facts;
  const number = (text: string | undefined) => (text === undefined ? undefined : BigInt(text));
  return { key, etag, version: number(version), fence: number(fence) };
}

/** The metadata of the `google.rpc.ErrorInfo` detail of `error`; undefined if it has none. */
export const infoIn = (error: unknown): Record<string, string> | undefined =>
  detail(error, ErrorInfoSchema)?.metadata;

/** The implementation of the public retryAfterMs(). */
export function retryDelayMs(error: unknown): number | undefined {
  const delay = detail(error, RetryInfoSchema)?.retryDelay;
  return delay && Number(delay.seconds) * 1000 + delay.nanos / 1_000_000;
}

/**
 * How long to wait before the same server is asked again, in milliseconds: without end if the error names the server
 * to ask.
 */
export const retryWaitMs = (error: unknown): number =>
  infoIn(error)?.["primary"] === undefined ? (retryDelayMs(error) ?? 0) : Number.POSITIVE_INFINITY;

function detail<T extends Message>(error: unknown, schema: GenMessage<T>): T | undefined {
  return error instanceof ConnectError ? (error.findDetails(schema)[0] as T | undefined) : undefined;
}
