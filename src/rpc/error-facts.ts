import type { Message } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";

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

/** Whether `error` is a ConnectError of one of these codes. */
export const hasCode = (error: unknown, ...codes: Code[]): boolean =>
  error instanceof ConnectError && codes.includes(error.code);

/** As conflictFacts() of the package. */
export function conflictIn(error: unknown): ConflictFacts | undefined {
  const facts = hasCode(error, Code.Aborted) ? infoIn(error) : undefined;
  if (!facts) return undefined;
  const { key = "", etag, version, fence } = facts;
  const number = (text: string | undefined) => (text === undefined ? undefined : BigInt(text));
  return { key, etag, version: number(version), fence: number(fence) };
}

/** The facts beside `error`; undefined where there are none. */
export const infoIn = (error: unknown): Record<string, string> | undefined =>
  detail(error, ErrorInfoSchema)?.metadata;

/** As retryAfterMs() of the package. */
export function retryDelayMs(error: unknown): number | undefined {
  const delay = detail(error, RetryInfoSchema)?.retryDelay;
  return delay && Number(delay.seconds) * 1000 + delay.nanos / 1_000_000;
}

function detail<T extends Message>(error: unknown, schema: GenMessage<T>): T | undefined {
  return error instanceof ConnectError ? (error.findDetails(schema)[0] as T | undefined) : undefined;
}
