import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { CallStatus, HeaderList } from "../wire/frame.js";
import { toHeaderList, toHeaders } from "../wire/header-list.js";

/** The error that a status tells, which has the headers of the answer as well. */
export function errorFromStatus(
  { code, text, details, trailers }: CallStatus,
  header: HeaderList,
): ConnectError {
  const error = new ConnectError(text, code, toHeaders([...header, ...trailers]));
  error.details = details.map(({ type, value }) => ({ type, value }));
  return error;
}

/** The status that tells what a handler threw. What is no ConnectError stays with this end, as Connect's servers do. */
export function statusFromError(thrown: unknown, trailer?: Headers): CallStatus {
  const { code, rawMessage, details, metadata } = ConnectError.from(
    thrown instanceof ConnectError ? thrown : new ConnectError("internal error", Code.Internal),
  );
  return {
    code,
    text: rawMessage,
    details: details.flatMap(packed),
    trailers: [...toHeaderList(metadata), ...toHeaderList(trailer)],
  };
}

/** A detail as its bytes; none where it has a value that its type cannot have, which must not end the process. */
function packed(detail: ConnectError["details"][number]): CallStatus["details"] {
  if (!("desc" in detail)) return [detail];
  try {
    const { desc, value } = detail;
    return [{ type: desc.typeName, value: toBinary(desc, create(desc, value)) }];
  } catch {
    return [];
  }
}

/** What a caller is told of an answer that is none of its method. */
export const undecodableResponse = (error: unknown): ConnectError =>
  new ConnectError(
    `cannot read a message of the answer: ${error}`,
    Code.Internal,
    undefined,
    undefined,
    error,
  );
