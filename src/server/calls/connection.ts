import { type ContextKey, createContextKey } from "@connectrpc/connect";
import type { Usage } from "./usage.js";

/** The connection that several calls share, at entry points that have connections. */
export interface Connection {
  /** How much of the limits its calls use together. */
  readonly usage: Usage;
  /** Whether it exceeds the limit on connections: all of its calls are refused. */
  readonly isExtra: boolean;
  /** Notes that something needs it, besides the requests that its port sees. */
  begin?(): void;
  /** Notes that this does not need it any more. */
  end?(): void;
  /** Closes it in the way of its protocol. */
  close?: () => void;
}

/** The connection that a call came by, in its context values. */
export const connectionKey: ContextKey<Connection | undefined> = createContextKey(undefined);

/** One need for a connection, which may come and go. */
export class ConnectionUse {
  readonly #connection: Connection;
  /** Whether it counts as a call of an identified caller. */
  readonly #isIdentified: boolean;
  #isOn = false;

  constructor(connection: Connection, { isIdentified = false } = {}) {
    this.#connection = connection;
    this.#isIdentified = isIdentified;
  }

  set(isOn: boolean): void {
    if (isOn === this.#isOn) return;
    this.#isOn = isOn;
    if (this.#isIdentified) this.#connection.usage.identifiedCalls += isOn ? 1 : -1;
    if (isOn) this.#connection.begin?.();
    else this.#connection.end?.();
  }
}
