import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { splitLargeBytes } from "../../rpc/large-bytes.js";

/** An encoded message: `bytes`, followed by `tail`, which is the message's own memory and not a copy. */
export interface Encoded {
  readonly bytes: Uint8Array;
  readonly tail?: Uint8Array;
}

/** Encodes a message. A large bytes field, such as a chunk of a file, is not copied but becomes the tail. */
export function encodeMessage<T extends DescMessage>(type: T, message: MessageShape<T>): Encoded {
  const split = splitLargeBytes(type, message);
  if (!split) return { bytes: toBinary(type, message) };
  const bytes = new BinaryWriter().raw(toBinary(type, split.rest)).raw(split.prefix).finish();
  return { bytes, tail: split.bytes };
}
