import type { KeyStore } from "../../engine.js";
import type { JETSTREAM_BOUNDS } from "./bounds.js";
import type { JetStreamSession } from "./session.js";

export class JetStreamKeys implements KeyStore {
  protected readonly session: JetStreamSession;

  constructor(session: JetStreamSession, _bounds: Readonly<Record<keyof typeof JETSTREAM_BOUNDS, number>>) {
    this.session = session;
  }

  get(): never {
    throw new Error("under construction");
  }
  getMany(): never {
    throw new Error("under construction");
  }
  commit(): never {
    throw new Error("under construction");
  }
  list(): never {
    throw new Error("under construction");
  }
  watch(): never {
    throw new Error("under construction");
  }

  async close(): Promise<void> {}
}
