import type { LogStore } from "../../engine.js";
import type { JETSTREAM_BOUNDS } from "./bounds.js";
import type { JetStreamSession } from "./session.js";

export class JetStreamLogs implements LogStore {
  protected readonly session: JetStreamSession;

  constructor(session: JetStreamSession, _bounds: Readonly<Record<keyof typeof JETSTREAM_BOUNDS, number>>) {
    this.session = session;
  }

  append(): never {
    throw new Error("under construction");
  }
  read(): never {
    throw new Error("under construction");
  }
  bounds(): never {
    throw new Error("under construction");
  }
  seek(): never {
    throw new Error("under construction");
  }
  retain(): never {
    throw new Error("under construction");
  }

  async close(): Promise<void> {}
}
