import type { HandlerContext } from "@connectrpc/connect";
import type { Log } from "../context.js";
import { type CallObserver, requestIdIn } from "./observe.js";

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

/** `context` for what is done within one call: every line of its log has the call's id, as the one about the call has. */
export function withCallId<C extends { readonly log: Log }>(context: C, { values }: HandlerContext): C {
  const reqId = requestIdIn(values);
  const { log } = context;
  const at = (level: keyof Log) => (fields: object, message: string) =>
    log[level]({ reqId, ...fields }, message);
  return { ...context, log: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") } };
}
