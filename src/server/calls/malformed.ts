import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { invalid } from "../errors.js";

/** What Connect's own handlers say of bytes that they cannot read, by which they are `internal`. */
const CANNOT_READ = "parse binary: ";

/** Whether Connect could not read a message that a caller sent. */
export const isMalformed = (error: unknown): boolean =>
  error instanceof ConnectError && error.code === Code.Internal && error.rawMessage.startsWith(CANNOT_READ);

/** What a message of the type is answered that cannot be read; `bytes` undefined: they are not at hand. */
export function malformed(type: DescMessage, bytes: Uint8Array | undefined): ConnectError {
  const text = bytes && badText(type, bytes);
  if (text) return invalid(text.at, text.bytes, "must be well-formed UTF-8");
  return new ConnectError(
    `cannot read the message: it is no ${type.typeName}, or a text in it is not well-formed UTF-8`,
    Code.InvalidArgument,
  );
}

/** Whether a query, which carries the message of a GET, has percent-encoded bytes that are not UTF-8: a URL makes them U+FFFD. */
export function hasMalformedQuery(url: string): boolean {
  try {
    decodeURIComponent(url.slice(url.indexOf("?") + 1).replace(/%(?![0-9a-f]{2})/gi, "%25"));
    return false;
  } catch {
    return true;
  }
}

/** Decodes JSON; a byte that is not UTF-8 becomes half a surrogate pair, which no field takes. Others make it U+FFFD. */
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
 * Whether Connect answers a call of one message that it could not read it: it does so before any interceptor, so that
 * only the answer tells. Returns the response as well, of which some may have been read.
 */
export async function readMalformed(
  response: UniversalServerResponse,
): Promise<{ isMalformed: boolean; response: UniversalServerResponse }> {
  const said = decodeURIComponent(response.trailer?.get("grpc-message") ?? "");
  if (said.startsWith(CANNOT_READ)) return { isMalformed: true, response };
  const pieces: Uint8Array[] = [];
  for await (const piece of response.body ?? []) pieces.push(piece);
  const text = pieces.map((piece) => lenient.decode(piece)).join("");
  const body = (async function* () {
    yield* pieces;
  })();
  // As JSON of Connect, or in the trailers of gRPC-Web, which are percent-encoded.
  return {
    isMalformed: /"message":"parse binary: |grpc-message: ?parse(%20| )binary(%3A|:)/i.test(text),
    response: { ...response, body },
  };
}

/** The first text in `bytes`, a message of the type, that is not UTF-8, and where it is. */
function badText(type: DescMessage, bytes: Uint8Array): { at: string; bytes: Uint8Array } | undefined {
  try {
    return badTextIn(type, bytes, "");
  } catch {
    // It is no message at all.
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
    const found = field.fieldKind === "map" ? badEntry(field, value, name) : badValue(field, value, name);
    if (found) return found;
  }
  return undefined;
}

function badValue(field: DescField, value: Uint8Array, at: string): ReturnType<typeof badText> {
  if (field.message) return badTextIn(field.message, value, `${at}.`);
  return field.scalar === ScalarType.STRING && !isUtf8(value) ? { at, bytes: value } : undefined;
}

/** Of a map, a message with the key as its field 1 and the value as its field 2. */
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
    const found =
      number === 2
        ? badValue(field, bytes, at)
        : field.mapKey === ScalarType.STRING && !isUtf8(bytes)
          ? { at, bytes }
          : undefined;
    if (found) return found;
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
