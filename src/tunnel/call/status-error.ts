import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { HeaderList, Status } from "../wire/frame.js";
import { headersOf, listOf } from "../wire/header-list.js";

/** The error that a status tells, which has the headers of the answer as well. */
export function errorOf({ code, text, details, trailers }: Status, header: HeaderList): ConnectError {
  const error = new ConnectError(text, code, headersOf([...header, ...trailers]));
  error.details = details.map(({ type, value }) => ({ type, value }));
  return error;
}

/** The status that tells what a handler threw. What is no ConnectError stays with this end, as Connect's servers do. */
export function statusOf(thrown: unknown, trailer?: Headers): Status {
  const { code, rawMessage, details, metadata } = ConnectError.from(
    thrown instanceof ConnectError ? thrown : new ConnectError("internal error", Code.Internal),
  );
  return {
    code,
    text: rawMessage,
    details: details.flatMap(packed),
    trailers: [...listOf(metadata), ...listOf(trailer)],
  };
}

/** A detail as its bytes; none where it has a value that its type cannot have, which must not end the process. */
function packed(detail: ConnectError["details"][number]): Status["details"] {
  if (!("desc" in detail)) return [detail];
  try {
    const { desc, value } = detail;
    return [{ type: desc.typeName, value: toBinary(desc, create(desc, value)) }];
  } catch {
    return [];
  }
}

/** What a caller is told of an answer that is none of its method. */
export const unreadable = (error: unknown): ConnectError =>
  new ConnectError(
    `cannot read a message of the answer: ${error}`,
    Code.Internal,
    undefined,
    undefined,
    error,
  );
