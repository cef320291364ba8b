import { CLOSE_CODE, ProtocolError } from "../wire/protocol-error.js";

/** The most calls that may be reset in a second. */
const MAX_RESETS = 5000;

/** Limits how often the other end resets its calls: each costs work, which the other end does not wait for. */
export class ResetFlood {
  #resets = 0;
  #sinceMs = 0;

  count(): void {
    const nowMs = performance.now();
    if (nowMs - this.#sinceMs > 1000) {
      this.#resets = 0;
      this.#sinceMs = nowMs;
    }
    if (++this.#resets > MAX_RESETS) {
      throw new ProtocolError(`more than ${MAX_RESETS} calls were given up in a second`, CLOSE_CODE.limit);
    }
  }
}
