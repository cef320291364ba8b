import { type DescMessage, fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

/** A message that a caller sent. Throws `invalid_argument` where it is none of its type. */
export function decode(type: DescMessage, bytes: Uint8Array): unknown {
  try {
    return fromBinary(type, bytes);
  } catch (error) {
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
