import type { TopicStore } from "../../engine.js";
import type { JETSTREAM_BOUNDS } from "./bounds.js";
import type { JetStreamSession } from "./session.js";

export class JetStreamTopics implements TopicStore {
  protected readonly session: JetStreamSession;

  constructor(session: JetStreamSession, _bounds: Readonly<Record<keyof typeof JETSTREAM_BOUNDS, number>>) {
    this.session = session;
  }

  publish(): never {
    throw new Error("under construction");
  }
  consume(): never {
    throw new Error("under construction");
  }
  hasWaiting(): never {
    throw new Error("under construction");
  }

  async close(): Promise<void> {}
}
