import type { Environment } from "../../../../gossip/environment.js";
import { type Backoff, jitteredMs } from "../../../../lib/backoff.js";
import type { Logger } from "../../../context.js";
import type { Entry, KeyStore } from "../../../engine.js";
import { ElectionSession } from "./session.js";

export interface SessionKeeperOptions {
  /** The electing engine's keys. */
  keys: KeyStore;
  group: string;
  /** This server's own URL. */
  url: string;
  leaseMs: number;
  /** The id of this server's copies. */
  copyId: () => Promise<string>;
  draining: AbortSignal;
  environment: Environment;
  log: Logger;
  /** Called after each write to the electing engine. */
  onWritten: (entry: Entry) => void;
  /** Called when a session was opened. */
  onOpened: () => void;
  /** Called when another server has ended the session. The next one is opened after that. */
  onEnded: () => void;
  /** Called when the lease has passed without a renewal. */
  onLapsed: () => void;
}

const OPEN_BACKOFF: Backoff = { minMs: 50, maxMs: 2000 };

/** Keeps a session of this server open: another one after each that was ended by others. */
export class SessionKeeper {
  readonly #options: SessionKeeperOptions;
  #current: ElectionSession | undefined;
  #copy = "";
  #isClosed = false;

  constructor(options: SessionKeeperOptions) {
    this.#options = options;
  }

  /** The open session. */
  get current(): ElectionSession | undefined {
    return this.#current;
  }

  /** The id of this server's copies; "" before the first session. */
  get copy(): string {
    return this.#copy;
  }

  /** Opens a session, as soon as the electing engine can be reached. */
  async open(): Promise<void> {
    const { copyId, log, group, environment } = this.#options;
    for (let failures = 1; !this.#isClosed; failures++) {
      try {
        this.#copy = await copyId();
        await this.#openOnce();
        return;
      } catch (error) {
        if (failures === 1) log.warn({ group, err: error }, "the group of maps cannot be joined");
        const waitMs = jitteredMs(OPEN_BACKOFF, failures, environment.random);
        await new Promise<void>((resolve) => {
          environment.after(waitMs, resolve);
        });
      }
    }
  }

  /** Ends the session, and opens no other. Resolves when the electing engine has it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#current?.end().catch(() => {});
  }

  async #openOnce(): Promise<void> {
    const { draining, onEnded, onOpened, log, group, ...options } = this.#options;
    const session = new ElectionSession({
      ...options,
      group,
      copy: this.#copy,
      state: draining.aborted ? "draining" : "live",
      onEnded: () => {
        if (this.#current !== session) return;
        this.#current = undefined;
        log.warn({ group }, "another server has ended this server's lease");
        onEnded();
        void this.open();
      },
    });
    await session.open();
    if (this.#isClosed) return session.stop();
    this.#current = session;
    onOpened();
  }
}
