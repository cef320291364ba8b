import type { Connection } from "./admission.js";

/** One of the things that a connection is used for, at times. */
export class ConnectionUse {
  readonly #connection: Connection;
  #isOn = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  set(isOn: boolean): void {
    if (isOn === this.#isOn) return;
    this.#isOn = isOn;
    if (isOn) this.#connection.begin?.();
    else this.#connection.end?.();
  }
}
