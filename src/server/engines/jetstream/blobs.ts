import type { BlobStore } from "../../engine.js";
import type { JETSTREAM_BOUNDS } from "./bounds.js";
import type { JetStreamSession } from "./session.js";

export class JetStreamBlobs implements BlobStore {
  protected readonly session: JetStreamSession;

  constructor(session: JetStreamSession, _bounds: Readonly<Record<keyof typeof JETSTREAM_BOUNDS, number>>) {
    this.session = session;
  }

  put(): never {
    throw new Error("under construction");
  }
  get(): never {
    throw new Error("under construction");
  }
  stat(): never {
    throw new Error("under construction");
  }
  list(): never {
    throw new Error("under construction");
  }
  delete(): never {
    throw new Error("under construction");
  }

  async close(): Promise<void> {}
}
