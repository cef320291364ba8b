import {
  type DescField,
  type DescMessage,
  type MessageShape,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** From this size on, a copy costs more than to avoid it. */
const LARGE_BYTES = 16 * 1024;

/** An encoded message: `bytes`, followed by `tail`, which is the message's own memory and not a copy. */
export interface Encoded {
  readonly bytes: Uint8Array;
  readonly tail?: Uint8Array;
}

/**
 * Encodes a message. A large bytes field, such as a chunk of a file, is not copied but becomes the tail: protobuf
 * allows fields in any order.
 */
export function encodeMessage<T extends DescMessage>(type: T, message: MessageShape<T>): Encoded {
  for (const field of bytesFields(type)) {
    const tail = (message as unknown as Record<string, unknown>)[field.localName];
    if (!(tail instanceof Uint8Array) || tail.length < LARGE_BYTES) continue;
    const others: MessageShape<T> = Object.create(Object.getPrototypeOf(message));
    Object.assign(others, message, { [field.localName]: NO_BYTES });
    const bytes = new BinaryWriter()
      .raw(toBinary(type, others))
      .tag(field.number, WireType.LengthDelimited)
      .uint32(tail.length)
      .finish();
    return { bytes, tail };
  }
  return { bytes: toBinary(type, message) };
}

const NO_BYTES = new Uint8Array();

const bytesFieldsOf = new WeakMap<DescMessage, readonly DescField[]>();

/** The singular bytes fields outside of oneofs. */
function bytesFields(type: DescMessage): readonly DescField[] {
  let fields = bytesFieldsOf.get(type);
  if (!fields) {
    fields = type.fields.filter(
      (field) => field.fieldKind === "scalar" && field.scalar === ScalarType.BYTES && !field.oneof,
    );
    bytesFieldsOf.set(type, fields);
  }
  return fields;
}
