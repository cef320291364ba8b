import { now } from "../heartbeat.js";
import { CLOSE_CODE, ProtocolError } from "../wire/protocol-error.js";

/** How many calls may be given up in a second. */
const MOST_RESETS = 5000;

/** Counts the calls that the other end gives up, as each of them is work that it does not wait for. */
export class ResetFlood {
  #resets = 0;
  #sinceMs = 0;

  count(): void {
    if (now() - this.#sinceMs > 1000) {
      this.#resets = 0;
      this.#sinceMs = now();
    }
    if (++this.#resets > MOST_RESETS) {
      throw new ProtocolError(`more than ${MOST_RESETS} calls were given up in a second`, CLOSE_CODE.limit);
    }
  }
}
