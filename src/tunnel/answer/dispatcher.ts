import { Code, type ConnectRouter, type ConnectRouterOptions } from "@connectrpc/connect";
import { createMethodTable } from "../../rpc/dispatch/method-table.js";
import type { Admit } from "../../rpc/dispatch/served-method.js";
import type { SessionOptions } from "../session/options.js";
import type { Session } from "../session.js";
import type { ToDecodeError } from "../wire/decode.js";
import { ServerCall } from "./server-call.js";

export interface DispatcherOptions {
  /** What a Connect router would be made with; of it, interceptors, the shutdown signal and the longest timeout are used. */
  router?: ConnectRouterOptions | undefined;
  /** Asked of every call. What it throws is the answer. Default: lets all in. */
  admit?: Admit | undefined;
  /** What a message is answered that cannot be read. Default: `invalid_argument`, with what is known of why. */
  malformed?: ToDecodeError | undefined;
}

/** The answering end: Connect's routes, for any number of sessions. */
export interface Dispatcher {
  /** Answers the calls of `session`, which is asked for with the first of them. */
  on(session: () => Session, options?: Pick<DispatcherOptions, "admit">): SessionOptions["answer"];
}

export function createDispatcher(
  routes: (router: ConnectRouter) => void,
  { router: base = {}, admit, malformed }: DispatcherOptions = {},
): Dispatcher {
  const methods = createMethodTable(routes, base);
  return {
    on:
      (session, own = {}) =>
      (call, stream, settle) => {
        const served = methods.get(call.path);
        if (served)
          return new ServerCall(session(), call, stream, settle, served, {
            admit: own.admit ?? admit,
            malformed,
          }).start();
        stream.discardIncoming();
        stream.end({
          code: Code.Unimplemented,
          text: `${call.path} is not served here`,
          details: [],
          trailers: [],
        });
        settle();
      },
  };
}
