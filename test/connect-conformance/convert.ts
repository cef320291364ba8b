import { create } from "@bufbuild/protobuf";
import { type Any, AnySchema, anyPack } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError } from "@connectrpc/connect";
import type { Code as ConformanceCode } from "./gen/connectrpc/conformance/v1/config_pb.js";
import {
  type Error as ConformanceError,
  ErrorSchema,
  type Header,
  HeaderSchema,
} from "./gen/connectrpc/conformance/v1/service_pb.js";

/** Headers in the format of the runner's messages. */
export function toHeaderList(headers: Iterable<[string, string]>): Header[] {
  return Array.from(headers, ([name, value]) => create(HeaderSchema, { name, value: [value] }));
}

/** Adds the headers of the runner's message; a name may have several values. */
export function addHeaders(to: Headers, list: readonly Header[]): Headers {
  for (const { name, value } of list) for (const each of value) to.append(name, each);
  return to;
}

const TYPE_URL = "type.googleapis.com/";

export function toConformanceError(error: ConnectError): ConformanceError {
  const details = error.details.map((detail) =>
    "desc" in detail
      ? anyPack(detail.desc, create(detail.desc, detail.value))
      : create(AnySchema, { typeUrl: TYPE_URL + detail.type, value: detail.value }),
  );
  return create(ErrorSchema, {
    code: error.code as number as ConformanceCode,
    message: error.rawMessage,
    details,
  });
}

/** The error that a handler must throw, with the details of `extra` after its own. */
export function toConnectError(
  { code, message, details }: ConformanceError,
  extra: readonly Any[],
): ConnectError {
  // Connect and the runner have the same numbers for codes.
  const error = new ConnectError(message ?? "", code as number as Code);
  error.details = [...details, ...extra].map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return error;
}
