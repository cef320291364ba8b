import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { invalid } from "../errors.js";

/** The beginning of Connect's error message for bytes that it cannot read. Connect's code for them is `internal`. */
const CANNOT_READ = "parse binary: ";

/** Whether the error says that Connect could not read a message of a caller. */
export const isMalformed = (error: unknown): boolean =>
  error instanceof ConnectError && error.code === Code.Internal && error.rawMessage.startsWith(CANNOT_READ);

/** The error for a message of the type that cannot be read. `bytes` are its bytes, if they are available. */
export function malformed(type: DescMessage, bytes: Uint8Array | undefined): ConnectError {
  const text = bytes && badText(type, bytes);
  if (text) return invalid(text.at, text.bytes, "must be well-formed UTF-8");
  return new ConnectError(
    `cannot read the message: it is no ${type.typeName}, or a text in it is not well-formed UTF-8`,
    Code.InvalidArgument,
  );
}

/**
 * Decodes the text of JSON. A byte that is not UTF-8 becomes half a surrogate pair, which no field accepts; other
 * decoders make it U+FFFD, which every field accepts.
 */
export const strictTextDecoder = {
  decode(bytes: Uint8Array): string {
    try {
      return strict.decode(bytes);
    } catch {
      return lenient.decode(bytes).replaceAll("\ufffd", "\ud800");
    }
  },
};

const strict = new TextDecoder("utf-8", { fatal: true });
const lenient = new TextDecoder();

/**
 * Whether a unary response says that Connect could not read the request's message. Connect reads it before any
 * interceptor runs, so only the response shows it. Returns the response too, whose body has been read.
 */
export async function readMalformed(
  response: UniversalServerResponse,
): Promise<{ isMalformed: boolean; response: UniversalServerResponse }> {
  const message = decodeURIComponent(response.trailer?.get("grpc-message") ?? "");
  if (message.startsWith(CANNOT_READ)) return { isMalformed: true, response };
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body ?? []) chunks.push(chunk);
  const text = chunks.map((chunk) => lenient.decode(chunk)).join("");
  const body = (async function* () {
    yield* chunks;
  })();
  // In the JSON of Connect, or percent-encoded in the trailers of gRPC-Web.
  return {
    isMalformed: /"message":"parse binary: |grpc-message: ?parse(%20| )binary(%3A|:)/i.test(text),
    response: { ...response, body },
  };
}

/** The first text that is not UTF-8 in the bytes of a message of the type, and its path. */
function badText(type: DescMessage, bytes: Uint8Array): { at: string; bytes: Uint8Array } | undefined {
  try {
    return badTextIn(type, bytes, "");
  } catch {
    // The bytes are not a message at all.
    return undefined;
  }
}

function badTextIn(type: DescMessage, bytes: Uint8Array, at: string): ReturnType<typeof badText> {
  const reader = new BinaryReader(bytes);
  const counts = new Map<DescField, number>();
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    const field = type.fields.find((each) => each.number === number);
    if (!field || wireType !== WireType.LengthDelimited) {
      reader.skip(wireType, number);
      continue;
    }
    const value = reader.bytes();
    const index = counts.get(field) ?? 0;
    counts.set(field, index + 1);
    const name = `${at}${field.name}${field.fieldKind === "list" ? `[${index}]` : ""}`;
    const result = field.fieldKind === "map" ? badEntry(field, value, name) : badValue(field, value, name);
    if (result) return result;
  }
  return undefined;
}

function badValue(field: DescField, value: Uint8Array, at: string): ReturnType<typeof badText> {
  if (field.message) return badTextIn(field.message, value, `${at}.`);
  return field.scalar === ScalarType.STRING && !isUtf8(value) ? { at, bytes: value } : undefined;
}

/** The same for an entry of a map: a message with the key as field 1 and the value as field 2. */
function badEntry(
  field: DescField & { fieldKind: "map" },
  entry: Uint8Array,
  at: string,
): ReturnType<typeof badText> {
  const reader = new BinaryReader(entry);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (wireType !== WireType.LengthDelimited) {
      reader.skip(wireType, number);
      continue;
    }
    const bytes = reader.bytes();
    const result =
      number === 2
        ? badValue(field, bytes, at)
        : field.mapKey === ScalarType.STRING && !isUtf8(bytes)
          ? { at, bytes }
          : undefined;
    if (result) return result;
  }
  return undefined;
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    strict.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
