import { type DescField, type DescMessage, type MessageShape, ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** From this size on, a copy costs more than to avoid it. */
const LARGE_BYTES = 16 * 1024;

/** A message in two parts: a large bytes field, such as a chunk of a file, and the message without it. */
export interface SplitMessage<T extends DescMessage> {
  readonly rest: MessageShape<T>;
  /** The tag and the length of the field, as they precede its bytes in an encoded message. */
  readonly prefix: Uint8Array;
  /** The message's own memory, not a copy. */
  readonly bytes: Uint8Array;
}

/**
 * Splits a message with a large bytes field; others return undefined. Protobuf allows fields in any order, so that the
 * encoded `rest`, `prefix` and `bytes` are the encoded message: the bytes need not be copied.
 */
export function splitLargeBytes<T extends DescMessage>(
  type: T,
  message: MessageShape<T>,
): SplitMessage<T> | undefined {
  for (const field of bytesFields(type)) {
    const bytes = (message as unknown as Record<string, unknown>)[field.localName];
    if (!(bytes instanceof Uint8Array) || bytes.length < LARGE_BYTES) continue;
    const rest: MessageShape<T> = Object.create(Object.getPrototypeOf(message));
    Object.assign(rest, message, { [field.localName]: NO_BYTES });
    const prefix = new BinaryWriter()
      .tag(field.number, WireType.LengthDelimited)
      .uint32(bytes.length)
      .finish();
    return { rest, prefix, bytes };
  }
  return undefined;
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
