import { type DescMessage, fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

/** Makes the error for bytes that are not a message of the type. */
export type ToDecodeError = (type: DescMessage, bytes: Uint8Array) => ConnectError;

/** Decodes a caller's message. Throws what `toDecodeError` returns, by default `Code.InvalidArgument`. */
export function decodeMessage(type: DescMessage, bytes: Uint8Array, toDecodeError?: ToDecodeError): unknown {
  try {
    return fromBinary(type, bytes);
  } catch (error) {
    if (toDecodeError) throw toDecodeError(type, bytes);
    const reason = error instanceof Error ? error.message : error;
    throw new ConnectError(
      `cannot read the message: ${reason}`,
      Code.InvalidArgument,
      undefined,
      undefined,
      error,
    );
  }
}
