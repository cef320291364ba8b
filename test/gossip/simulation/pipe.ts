import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Message, MessageSchema } from "../../../gen/atomix/map/map_pb.js";
import type { Scheduler } from "./scheduler.js";

/** How many messages are under way before the sender waits. */
const WINDOW = 8;

export interface PipeOptions {
  scheduler: Scheduler;
  /** How long the next message is under way, in milliseconds. */
  latencyMs: () => number;
  /** How long the reader takes for each message, in milliseconds. */
  readMs: () => number;
  /** Called with each message when its reader takes it. */
  onRead: (message: Message) => void;
  /** Called with the size of each message that is sent. */
  onSent: (bytes: number) => void;
}

/** One direction of a stream: messages arrive in order, as bytes, after a latency. */
export class Pipe {
  readonly #options: PipeOptions;
  readonly #arrived: Uint8Array[] = [];
  /** The messages under way; a dropped one is undefined. */
  readonly #underWay: { bytes: Uint8Array | undefined }[] = [];
  #arrivesMs = 0;
  #isCut = false;
  #isEnding = false;
  /** The end that was sent, which the reader sees after the messages. */
  #lastEnd: { error?: unknown } | undefined;
  /** The end for both sides. */
  #end: { error?: unknown } | undefined;
  #wakeReader = () => {};
  #wakeSender = () => {};

  constructor(options: PipeOptions) {
    this.#options = options;
  }

  /** Sends all of `messages`, then ends the pipe: with their error if there is one. */
  async sendAll(messages: AsyncIterable<Message>): Promise<void> {
    try {
      for await (const message of messages) if (!(await this.#send(message))) return;
      this.#finish();
    } catch (error) {
      this.#finish(error);
    }
  }

  /** The messages as the reader gets them. */
  async *read(): AsyncGenerator<Message, void, undefined> {
    const { scheduler, readMs, onRead } = this.#options;
    for (;;) {
      const bytes = this.#end ? undefined : this.#arrived.shift();
      if (bytes) {
        const message = fromBinary(MessageSchema, bytes);
        this.#wakeSender();
        onRead(message);
        yield message;
        const busyMs = readMs();
        if (busyMs > 0) await new Promise<void>((resolve) => void scheduler.after(busyMs, resolve));
        continue;
      }
      const end = this.#end ?? this.#lastEnd;
      if (end) {
        this.break(end.error);
        if (end.error !== undefined) throw end.error;
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  /** Loses everything from now on, and of the messages under way all but the first `kept`. Neither side notices. */
  cut(kept: number): void {
    this.#isCut = true;
    for (const message of this.#underWay.slice(kept)) message.bytes = undefined;
  }

  /** The reader has died: it never gets anything more. */
  silence(): void {
    this.cut(0);
    this.#arrived.length = 0;
  }

  /** Ends both sides at once. */
  break(error?: unknown): void {
    this.#end ??= { error };
    this.#wakeReader();
    this.#wakeSender();
  }

  /** Returns whether the reader may still get messages. */
  async #send(message: Message): Promise<boolean> {
    while (!this.#end && this.#underWay.length + this.#arrived.length >= WINDOW) {
      await new Promise<void>((resolve) => {
        this.#wakeSender = resolve;
      });
    }
    if (this.#end) return false;
    const bytes = toBinary(MessageSchema, message);
    this.#options.onSent(bytes.length);
    const sent = { bytes: this.#isCut ? undefined : bytes };
    this.#underWay.push(sent);
    // What is lost keeps its place in the window, as the sender gets no acknowledgement.
    if (!this.#isCut) this.#onArrival(() => this.#arrive(sent));
    return true;
  }

  #arrive(sent: { bytes: Uint8Array | undefined }): void {
    if (!sent.bytes) return;
    this.#underWay.splice(this.#underWay.indexOf(sent), 1);
    this.#arrived.push(sent.bytes);
    this.#wakeReader();
  }

  /** Runs `task` when a message that is sent now arrives: not before the ones that were sent earlier. */
  #onArrival(task: () => void): void {
    const { scheduler, latencyMs } = this.#options;
    this.#arrivesMs = Math.max(this.#arrivesMs, scheduler.nowMs + latencyMs());
    scheduler.after(this.#arrivesMs - scheduler.nowMs, task);
  }

  /** Ends the pipe after the messages under way. */
  #finish(error?: unknown): void {
    if (this.#isCut || this.#isEnding) return;
    this.#isEnding = true;
    this.#onArrival(() => {
      if (this.#isCut) return;
      this.#lastEnd = { error };
      this.#wakeReader();
    });
  }
}
