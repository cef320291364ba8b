import type { Connection } from "./admission.js";

/** One of the things that a connection is used for, at times. */
export class ConnectionUse {
  readonly #connection: Connection;
  /** Whether only those use it so whose credentials are known. */
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
