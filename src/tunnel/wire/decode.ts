import { type DescMessage, fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

/** What a message of the type is answered that cannot be read. */
export type ToDecodeError = (type: DescMessage, bytes: Uint8Array) => ConnectError;

/** A message that a caller sent. Throws `invalid_argument`, or what `malformed` says, where it is none of its type. */
export function decodeMessage(type: DescMessage, bytes: Uint8Array, malformed?: ToDecodeError): unknown {
  try {
    return fromBinary(type, bytes);
  } catch (error) {
    if (malformed) throw malformed(type, bytes);
    const why = error instanceof Error ? error.message : error;
    throw new ConnectError(
      `cannot read the message: ${why}`,
      Code.InvalidArgument,
      undefined,
      undefined,
      error,
    );
  }
}
