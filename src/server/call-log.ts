import type { CallObserver } from "./calls.js";
import type { Log } from "./context.js";

/** One line for each call when it has ended: how it went, and nothing of what it carried. Failures from "info" on. */
export function callLog(log: Log): CallObserver {
  return {
    began() {},
    ended({ id: reqId, method, protocol }, code, ms) {
      const fields = { reqId, method, protocol, code, durationMs: Math.round(ms * 1000) / 1000 };
      if (code === "ok" || code === "canceled") log.debug(fields, "call");
      else log.info(fields, "call failed");
    },
  };
}
