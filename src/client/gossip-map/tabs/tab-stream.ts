import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Message, MessageSchema } from "../../../../gen/atomix/map/map_pb.js";
import { Queue } from "../../../lib/queue.js";

/** How many messages of a stream may be on their way. Channels have no flow control of their own. */
const WINDOW = 4;

export interface TabStreamOptions {
  send: (bytes: Uint8Array) => void;
  acknowledge: () => void;
  end: () => void;
}

/** One side of a stream of messages between two tabs. */
export class TabStream {
  readonly #options: TabStreamOptions;
  readonly #incoming = new Queue<Message>();
  #inFlight = 0;
  #hasEnded = false;
  #wake = () => {};

  constructor(options: TabStreamOptions) {
    this.#options = options;
  }

  /** Sends `messages`, and then the end of them. Takes the next one only when the other tab can take it. */
  async send(messages: AsyncIterable<Message>): Promise<void> {
    try {
      for await (const message of messages) {
        if (this.#hasEnded) return;
        this.#inFlight++;
        this.#options.send(toBinary(MessageSchema, message));
        while (this.#inFlight >= WINDOW && !this.#hasEnded) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.#options.end();
    }
  }

  /** The messages of the other tab. Each is acknowledged when the loop asks for the next one. */
  async *messages(): AsyncGenerator<Message, void, undefined> {
    for await (const message of this.#incoming) {
      yield message;
      this.#options.acknowledge();
    }
  }

  onData(bytes: Uint8Array): void {
    this.#incoming.push(fromBinary(MessageSchema, bytes));
  }

  onAck(): void {
    this.#inFlight--;
    this.#wake();
  }

  /** The other tab sends no more. */
  onEnd(): void {
    this.#incoming.end();
  }

  /** Ends both directions, with `error` if there is one. */
  close(error?: Error): void {
    this.#hasEnded = true;
    this.#wake();
    if (error) this.#incoming.fail(error);
    else this.#incoming.end();
  }
}
