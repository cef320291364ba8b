import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { quote } from "../lib/quote.js";

/** The domain of every `google.rpc.ErrorInfo` that this server sends. */
const DOMAIN = "fairlead";

/** A required field that is empty, or one that is malformed or out of range. `why` says what would be right. */
export function invalid(field: string, value: unknown, why: string): ConnectError {
  const violation = { field, description: why };
  return new ConnectError(`${field} ${quoteField(value)}: ${why}`, Code.InvalidArgument, undefined, [
    { desc: BadRequestSchema, value: { fieldViolations: [violation] } },
  ]);
}

/** A clock of a request is too far ahead of this server's, which the details name: a client can set its own by them. */
export function clockAhead(field: string, value: unknown, nowMs: number, maxAheadMs: number): ConnectError {
  const error = invalid(
    field,
    value,
    `must be at most ${maxAheadMs} ms ahead of the server's clock, in ms times 65536`,
  );
  error.details.push(info("CLOCK_AHEAD", { nowMs: String(nowMs), maxAheadMs: String(maxAheadMs) }));
  return error;
}

/** A request names a component that the server does not have. `label` is how messages call such a component. */
export function notConfigured(label: string, name: string, known: readonly string[]): ConnectError {
  const names = known.length > 0 ? `configured: ${known.map(quote).join(", ")}` : "none is configured";
  return new ConnectError(
    `${label} ${quote(name)} is not configured; ${names}`,
    Code.InvalidArgument,
    undefined,
    [info("NOT_CONFIGURED", { kind: label, name })],
  );
}

/** A required entry does not exist. `label` is how messages call such an entry. */
export function notFound(label: string, name: string): ConnectError {
  return new ConnectError(`${label} ${quote(name)} does not exist`, Code.NotFound, undefined, [
    info("NOT_FOUND", { name }),
  ]);
}

/**
 * The condition of a write does not hold: an etag, a version, a fence, an absence. `facts` have the present state for
 * the client, as "key", "etag", "version" and "fence".
 */
export function conflict(why: string, facts: Record<string, string>): ConnectError {
  return new ConnectError(why, Code.Aborted, undefined, [info("CONFLICT", facts)]);
}

/** A request would exceed a limit, which is named as in the configuration. */
export function exhausted(limit: string, most: number | bigint, why: string): ConnectError {
  return new ConnectError(`limit ${limit} ${most}: ${why}`, Code.ResourceExhausted, undefined, [
    info("LIMIT", { limit, most: String(most) }),
  ]);
}

/** The engine has no room for a write, as on a full disk. Unlike exhausted(), no configured limit is reached. */
export function storageFull(why: string): ConnectError {
  return new ConnectError(why, Code.ResourceExhausted, undefined, [info("STORAGE_FULL", {})]);
}

/** The server cannot do it now, and a retry may succeed. */
export function unavailable(
  why: string,
  { retryAfterMs, facts = {} }: { retryAfterMs?: number; facts?: Record<string, string> } = {},
): ConnectError {
  const error = new ConnectError(why, Code.Unavailable, undefined, [info("UNAVAILABLE", facts)]);
  if (retryAfterMs !== undefined) {
    const retryDelay = {
      seconds: BigInt(Math.floor(retryAfterMs / 1000)),
      nanos: (retryAfterMs % 1000) * 1_000_000,
    };
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay } });
  }
  return error;
}

/** A service behind this server answered with an error of its own. `facts` describe it for the client. */
export function upstreamFailed(code: Code, why: string, facts: Record<string, string>): ConnectError {
  return new ConnectError(why, code, undefined, [info("FAILED_BEHIND", facts)]);
}

/** A field's value in a message: bytes by their number, and whole numbers as every language writes them. */
function quoteField(value: unknown): string {
  if (value instanceof Uint8Array) return `of ${value.length} bytes`;
  return typeof value === "bigint" ? String(value) : quote(value);
}

const info = (reason: string, metadata: Record<string, string>) => ({
  desc: ErrorInfoSchema,
  value: { reason, domain: DOMAIN, metadata } satisfies MessageInitShape<typeof ErrorInfoSchema>,
});
