import type { JetStreamSession } from "../session.js";
import { ROLLUP } from "../stream-reader.js";
import type { BlobSubjects } from "./subjects.js";
import type { BlobTiming } from "./timing.js";

export interface ReadingsOptions {
  session: JetStreamSession;
  subjects: BlobSubjects;
  timing: BlobTiming;
}

/**
 * The contents that are read on this server. Most reads are over soon. For a longer one, a note tells the other servers
 * that the content is in use, and is repeated: a content that no blob has any more stays as long as it has such notes.
 */
export class Readings {
  readonly #options: ReadingsOptions;
  /** For each content the number of its readers, and whether the next renewal publishes a note. */
  readonly #open = new Map<string, { readers: number; isLong: boolean }>();
  readonly #timer: NodeJS.Timeout;
  /** Ends the readings whose content was dropped without being read. */
  readonly #dropped = new FinalizationRegistry<() => void>((end) => end());

  constructor(options: ReadingsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#renew(), options.timing.renewMs);
    this.#timer.unref();
  }

  /** Holds the content `id` until the iteration of `chunks` ends, or until nobody can begin one any more. */
  hold(id: string, chunks: AsyncGenerator<Uint8Array, void, undefined>): AsyncIterable<Uint8Array> {
    const end = this.#begin(id);
    const iterable = {
      [Symbol.asyncIterator]: () => {
        // The iterator refers to the iterable, so that it is not dropped while it is read.
        const iterator = untilEnd(chunks, end);
        return Object.assign(iterator, { iterable });
      },
    };
    this.#dropped.register(iterable, end);
    return iterable;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #begin(id: string): () => void {
    const reading = this.#open.get(id) ?? { readers: 0, isLong: false };
    this.#open.set(id, reading);
    reading.readers++;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      if (--reading.readers === 0) this.#open.delete(id);
    };
  }

  #renew(): void {
    const { session, subjects, timing } = this.#options;
    const ttl = `${Math.ceil((2 * timing.lapseMs) / 1000)}s`;
    for (const [id, reading] of this.#open) {
      if (!reading.isLong) {
        reading.isLong = true;
        continue;
      }
      const subject = subjects.reading(id, session.id);
      const headers = [...ROLLUP, ["Nats-TTL", ttl] as const];
      session.publishRepeatedly({ subject, data: new Uint8Array(0), headers }).catch((err: unknown) => {
        if (!session.closing.aborted)
          session.log.warn({ err }, "the cluster was not told of a long read of a blob");
      });
    }
  }
}

/** Passes the chunks on, and calls `end` when they end, fail, or are left. */
function untilEnd(
  chunks: AsyncGenerator<Uint8Array, void, undefined>,
  end: () => void,
): AsyncIterator<Uint8Array, void, undefined> {
  const finish = () => {
    end();
    return chunks.return();
  };
  return {
    async next() {
      try {
        const step = await chunks.next();
        if (step.done) end();
        return step;
      } catch (error) {
        end();
        throw error;
      }
    },
    return: finish,
    throw: finish,
  };
}
