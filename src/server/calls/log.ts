import type { HandlerContext } from "@connectrpc/connect";
import type { Limits } from "../config/config.js";
import type { Logger } from "../context.js";
import { type CallObserver, requestIdIn } from "./observe.js";

/** Logs one line per call when it ends, without its messages: failures at `info`, all others at `debug`. */
export function callLog(log: Logger): CallObserver {
  return {
    onStart() {},
    onEnd({ id: reqId, method, protocol }, code, ms) {
      const fields = { reqId, method, protocol, code, durationMs: Math.round(ms * 1000) / 1000 };
      if (code === "ok" || code === "canceled") log.debug(fields, "call");
      else log.info(fields, "call failed");
    },
  };
}

/** A copy of `context` for one call: every line of its log has the call's id, as the line about the call has. */
export function withCallId<C extends { readonly log: Logger }>(context: C, { values }: HandlerContext): C {
  const reqId = requestIdIn(values);
  const { log } = context;
  const at = (level: keyof Logger) => (fields: object, message: string) =>
    log[level]({ reqId, ...fields }, message);
  return { ...context, log: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") } };
}

/** The message in the log, and to the caller, of a call that ended because its caller read nothing of the answer. */
export const stalledMessage = ({ stalledMs }: Pick<Limits, "stalledMs">): string =>
  `an answer was given up: nothing of it was taken for ${stalledMs} ms`;
