import type { StreamReader } from "../stream-reader.js";
import { decodeLogMessage, type LogHead, type LogMessage, type LogState } from "./message.js";

/** The most messages of a log whose heads are remembered. */
const MAX_HEADS = 64;

/** Finds messages of one log by their heads, which ascend. Remembers some heads, so that later searches are shorter. */
export class MessageSearch {
  readonly #reader: StreamReader;
  readonly #subject: string;
  /** In the order of their sequences. */
  #heads: { sequence: number; head: LogHead }[] = [];

  constructor(reader: StreamReader, subject: string) {
    this.#reader = reader;
    this.#subject = subject;
  }

  /** The first message that matches, where later ones do as well. The last one, of `state`, must match. */
  async first(matches: (head: LogHead) => boolean, state: LogState): Promise<LogMessage> {
    let [low, high] = this.#boundsOf(matches, state.sequence);
    // The message behind the last one that is known not to match is often the one.
    for (let at = low + 1; high - low > 1; at = Math.floor((low + high) / 2)) {
      const message = await this.#load(at);
      if (message.sequence < high && !matches(message.head)) low = message.sequence;
      else high = at;
    }
    return await this.#load(low + 1);
  }

  /** Remembers the head of a message. */
  add({ sequence, head }: Pick<LogMessage, "sequence" | "head">): void {
    const at = this.#heads.findIndex((one) => one.sequence >= sequence);
    if (at >= 0 && this.#heads[at]?.sequence === sequence) return;
    this.#heads.splice(at < 0 ? this.#heads.length : at, 0, { sequence, head });
    if (this.#heads.length > MAX_HEADS) this.#heads = this.#heads.filter((_, i) => i % 2 === 0);
  }

  /** The sequences between which the first match is: behind the first one, and not behind the second one. */
  #boundsOf(matches: (head: LogHead) => boolean, last: number): [number, number] {
    const known = this.#heads.filter(({ sequence }) => sequence <= last);
    const low = known.findLast(({ head }) => !matches(head))?.sequence ?? 0;
    const high = known.find(({ head }) => matches(head))?.sequence ?? last;
    return [low, high];
  }

  /** The first message with this sequence or a higher one. */
  async #load(from: number): Promise<LogMessage> {
    const [stored] = await this.#reader.nextKnown(this.#subject, from, 1, 1);
    const message = decodeLogMessage(stored as NonNullable<typeof stored>);
    this.add(message);
    return message;
  }
}
