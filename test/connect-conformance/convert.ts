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

/** Headers as the runner's messages have them. */
export function toHeaderList(headers: Iterable<[string, string]>): Header[] {
  return Array.from(headers, ([name, value]) => create(HeaderSchema, { name, value: [value] }));
}

/** Adds what the runner's message asks for; a name may have several values. */
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

/** The error that a handler is asked to fail with; `extra` goes behind its own details. */
export function toConnectError(
  { code, message, details }: ConformanceError,
  extra: readonly Any[],
): ConnectError {
  // Connect numbers its codes as the runner does.
  const error = new ConnectError(message ?? "", code as number as Code);
  error.details = [...details, ...extra].map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return error;
}
