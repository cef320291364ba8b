import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import { lostToOther } from "../../rpc/lost-to-other.js";
import { isUnprocessed } from "../../rpc/unprocessed.js";

/**
 * How a server failed. "lost": it cannot be reached, its connection broke, or a balancer has no server behind it.
 * "refusing": it answers that it does no work now, since it closes or its engine is away.
 */
type ServerFailure = "lost" | "refusing";

/** What the error of a call says of its server; undefined if that works. */
export function serverFailure(error: unknown): ServerFailure | undefined {
  if (isUnprocessed(error)) return "lost";
  if (!(error instanceof ConnectError) || error.code !== Code.Unavailable) return undefined;
  // An error that came over the wire has the headers of its response. A balancer's has no text but its status.
  if ([...error.metadata].length === 0 || /^HTTP \d+$/.test(error.rawMessage)) return "lost";
  // What another system behind a Fairlead server does not answer, it would not answer to another server either.
  const isOfServer = !error.metadata.has(SERVER_HEADER) || error.findDetails(RetryInfoSchema).length > 0;
  return isOfServer ? "refusing" : undefined;
}

/** Notes on `error` that a retry goes to another server: neither the delay nor the budget of this one holds for it. */
export function markForOther(error: ConnectError, failure: ServerFailure): void {
  error.details = error.details.filter(
    (detail) => ("desc" in detail ? detail.desc.typeName : detail.type) !== RetryInfoSchema.typeName,
  );
  if (failure === "lost") lostToOther.add(error);
}

/** Whether the server ended the call because it closes. */
export const isClosing = (error: ConnectError): boolean =>
  error.findDetails(ErrorInfoSchema)[0]?.metadata["closing"] === "true";
