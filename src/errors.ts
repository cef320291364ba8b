import type { Message } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";

/** A condition of the write did not hold: an etag, a version, a fence or an absence. Nothing was written. */
export const isConflict = (error: unknown): boolean => codeOf(error) === Code.Aborted;

/** What was asked for is not there, and has to be. */
export const isNotFound = (error: unknown): boolean => codeOf(error) === Code.NotFound;

/** The server or its engine could not be reached. The same call may succeed later; whether this one did is unknown. */
export const isUnavailable = (error: unknown): boolean => codeOf(error) === Code.Unavailable;

/** A limit was hit; the message names it. */
export const isExhausted = (error: unknown): boolean => codeOf(error) === Code.ResourceExhausted;

/** What a conflict found in the place of what was asked for. */
export interface ConflictFacts {
  /** The key, or the locked resource. */
  key: string;
  /** The etag that the entry has now, "" where there is no entry; undefined where it is not about an etag. */
  etag: string | undefined;
  /** The version that the map's entry has now, 0n where there is none; undefined where it is not about a version. */
  version: bigint | undefined;
  /** The newest fence of the resource; undefined where it is not about a fence. */
  fence: bigint | undefined;
}

/** What a Fairlead server tells of a conflict; undefined for any other error, and where the server tells nothing. */
export function conflictFacts(error: unknown): ConflictFacts | undefined {
  if (!isConflict(error)) return undefined;
  const facts = detail(error as ConnectError, ErrorInfoSchema)?.metadata;
  if (!facts) return undefined;
  const { key = "", etag, version, fence } = facts;
  const number = (text: string | undefined) => (text === undefined ? undefined : BigInt(text));
  return { key, etag, version: number(version), fence: number(fence) };
}

/** The HTTP status that a service or a binding's target failed with; undefined where the error is not about one. */
export function httpStatus(error: unknown): number | undefined {
  const status = detail(error, ErrorInfoSchema)?.metadata["statusCode"];
  return status === undefined ? undefined : Number(status);
}

/** How long the server asks to wait before another try, in milliseconds; undefined where it does not say. */
export function retryAfterMs(error: unknown): number | undefined {
  const delay = detail(error, RetryInfoSchema)?.retryDelay;
  return delay && Number(delay.seconds) * 1000 + delay.nanos / 1_000_000;
}

function detail<T extends Message>(error: unknown, schema: GenMessage<T>): T | undefined {
  return error instanceof ConnectError ? (error.findDetails(schema)[0] as T | undefined) : undefined;
}

const codeOf = (error: unknown): Code | undefined => (error instanceof ConnectError ? error.code : undefined);
