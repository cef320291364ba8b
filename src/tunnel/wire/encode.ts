import {
  type DescField,
  type DescMessage,
  type MessageShape,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** Below that, a copy costs less than to do without. */
const LARGE_BYTES = 16 * 1024;

/** A message in bytes, and `tail`: how they go on, in the message's own memory. */
export interface Encoded {
  readonly bytes: Uint8Array;
  readonly tail?: Uint8Array;
}

/**
 * A message in bytes. A large field of bytes, such as a piece of a file, is not copied but stands at the end: on the
 * wire, fields may come in any order.
 */
export function encodeMessage<T extends DescMessage>(type: T, message: MessageShape<T>): Encoded {
  for (const field of bytesFields(type)) {
    const tail = (message as unknown as Record<string, unknown>)[field.localName];
    if (!(tail instanceof Uint8Array) || tail.length < LARGE_BYTES) continue;
    const others: MessageShape<T> = Object.create(Object.getPrototypeOf(message));
    Object.assign(others, message, { [field.localName]: NONE });
    const bytes = new BinaryWriter()
      .raw(toBinary(type, others))
      .tag(field.number, WireType.LengthDelimited)
      .uint32(tail.length)
      .finish();
    return { bytes, tail };
  }
  return { bytes: toBinary(type, message) };
}

const NONE = new Uint8Array();

const known = new WeakMap<DescMessage, readonly DescField[]>();

/** The fields that hold bytes: once, as of several only the last one counts. */
function bytesFields(type: DescMessage): readonly DescField[] {
  let fields = known.get(type);
  if (!fields) {
    fields = type.fields.filter(
      (field) => field.fieldKind === "scalar" && field.scalar === ScalarType.BYTES && !field.oneof,
    );
    known.set(type, fields);
  }
  return fields;
}
