import { toBinary } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { type Message, MessageSchema } from "fairlead/gen/atomix/map/map_pb.js";

/** The bytes before each message of a gRPC stream. */
const FRAME_BYTES = 5;

/** The streams of one member of gossip maps: counts their bytes, and cuts them. */
export class Wire {
  /** The bytes of all messages in both directions, with the frames of gRPC. */
  bytes = 0;
  messages = 0;
  readonly transport: Transport;
  #cut = new AbortController();
  #mended: Promise<void> = Promise.resolve();
  #mend = () => {};

  constructor(transport: Transport) {
    this.transport = {
      unary: (...args) => transport.unary(...args),
      stream: async (method, signal, timeoutMs, header, input, values) => {
        await this.#mended;
        const signals = [this.#cut.signal, ...(signal ? [signal] : [])];
        const counted = this.#count(input as AsyncIterable<Message>) as typeof input;
        const response = await transport.stream(
          method,
          AbortSignal.any(signals),
          timeoutMs,
          header,
          counted,
          values,
        );
        const message = this.#count(response.message as AsyncIterable<Message>) as typeof response.message;
        return { ...response, message };
      },
    };
  }

  /** Breaks the streams. New ones wait until mend(). */
  cut(): void {
    this.#mended = new Promise((resolve) => {
      this.#mend = resolve;
    });
    this.#cut.abort();
    this.#cut = new AbortController();
  }

  mend(): void {
    this.#mend();
  }

  reset(): void {
    this.bytes = 0;
    this.messages = 0;
  }

  async *#count(messages: AsyncIterable<Message>): AsyncGenerator<Message, void, undefined> {
    for await (const message of messages) {
      this.bytes += FRAME_BYTES + toBinary(MessageSchema, message).length;
      this.messages++;
      yield message;
    }
  }
}
