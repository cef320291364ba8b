import type { StoredAt } from "../message.js";
import type { JetStreamSession } from "../session.js";
import { internalPrefix } from "../streams.js";

/**
 * Writes to the stream of keys that find out how far it has come: whatever was acknowledged before has a lower sequence.
 * All servers write to the same subject, of which the stream keeps the last message.
 */
export class Barrier {
  readonly #session: JetStreamSession;
  /** A subject that always has a message, once a barrier was written. */
  readonly subject: string;

  constructor(session: JetStreamSession) {
    this.#session = session;
    this.subject = `${internalPrefix(session.name)}b`;
  }

  /** Writes one: its sequence, and how often it was sent. If it was sent again, it is later than the first attempt. */
  write(): Promise<StoredAt & { attempts: number }> {
    return this.#session.publishRepeatedly({ subject: this.subject, data: NOTHING, headers: [] });
  }
}

const NOTHING = new Uint8Array(0);
