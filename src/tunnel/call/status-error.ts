import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { CallStatus, HeaderList } from "../wire/frame.js";
import { toHeaderList, toHeaders } from "../wire/header-list.js";

/** The error of a status. Its metadata are the headers and trailers of the response. */
export function errorFromStatus(
  { code, text, details, trailers }: CallStatus,
  header: HeaderList,
): ConnectError {
  const error = new ConnectError(text, code, toHeaders([...header, ...trailers]));
  error.details = details.map(({ type, value }) => ({ type, value }));
  return error;
}

/** The status of what a handler threw. As with Connect's servers, only a ConnectError is shown to the caller. */
export function statusFromError(thrown: unknown, trailer?: Headers): CallStatus {
  const { code, rawMessage, details, metadata } = ConnectError.from(
    thrown instanceof ConnectError ? thrown : new ConnectError("internal error", Code.Internal),
  );
  return {
    code,
    text: rawMessage,
    details: details.flatMap(encodeDetail),
    trailers: [...toHeaderList(metadata), ...toHeaderList(trailer)],
  };
}

/** Drops a detail with a value that its type does not allow: it must not end the process. */
function encodeDetail(detail: ConnectError["details"][number]): CallStatus["details"] {
  if (!("desc" in detail)) return [detail];
  try {
    const { desc, value } = detail;
    return [{ type: desc.typeName, value: toBinary(desc, create(desc, value)) }];
  } catch {
    return [];
  }
}

/** The error for a response that is not a message of the method's output type. */
export const undecodableResponse = (error: unknown): ConnectError =>
  new ConnectError(
    `cannot read a message of the answer: ${error}`,
    Code.Internal,
    undefined,
    undefined,
    error,
  );

/** The error of a call that ends for `reason`, and the code for the other end, which need not know more. */
export function cancellation(reason: unknown): [error: ConnectError, code: Code] {
  const error = ConnectError.from(reason, Code.Canceled);
  return [error, error.code === Code.DeadlineExceeded ? error.code : Code.Canceled];
}
