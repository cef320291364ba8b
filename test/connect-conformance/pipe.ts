import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";

/** The messages that the runner sends to this process, each after four bytes with its length. */
export async function* fromRunner<T extends DescMessage>(type: T): AsyncGenerator<MessageShape<T>> {
  let seen = Buffer.alloc(0);
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    seen = Buffer.concat([seen, chunk]);
    while (seen.length >= 4 && seen.length >= 4 + seen.readUInt32BE()) {
      const end = 4 + seen.readUInt32BE();
      yield fromBinary(type, seen.subarray(4, end));
      seen = seen.subarray(end);
    }
  }
  if (seen.length > 0)
    throw new Error(`the runner's input ends within a message, ${seen.length} bytes into it`);
}

/** The single message that a server receives. */
export async function oneFromRunner<T extends DescMessage>(type: T): Promise<MessageShape<T>> {
  for await (const message of fromRunner(type)) return message;
  throw new Error(`the runner sent no ${type.typeName}`);
}

export function toRunner<T extends DescMessage>(type: T, message: MessageShape<T>): void {
  const bytes = toBinary(type, message);
  const framed = Buffer.alloc(4 + bytes.length);
  framed.writeUInt32BE(bytes.length);
  framed.set(bytes, 4);
  process.stdout.write(framed);
}
