import { Code, type ConnectRouter, type ConnectRouterOptions } from "@connectrpc/connect";
import { createMethodTable } from "../../rpc/dispatch/method-table.js";
import type { Admit } from "../../rpc/dispatch/served-method.js";
import type { AnswerCall } from "../session/options.js";
import type { Session } from "../session.js";
import type { ToDecodeError } from "../wire/decode.js";
import { OK_STATUS } from "../wire/frame.js";
import type { CreateHeaders } from "./response-writer.js";
import { ServerCall } from "./server-call.js";

export interface DispatcherOptions {
  /** The options of a Connect router. Only interceptors, `shutdownSignal` and `maxTimeoutMs` have an effect. */
  router?: ConnectRouterOptions | undefined;
  /** Admits each call, or throws the error of its response. Default: admits all. */
  admit?: Admit | undefined;
  /** Makes the error for a message that cannot be decoded. Default: `Code.InvalidArgument`. */
  toDecodeError?: ToDecodeError | undefined;
  /** Creates the headers of requests and responses. Default: real `Headers`, which are slow in Node. */
  createHeaders?: CreateHeaders | undefined;
}

/** Answers calls with Connect's routes, for any number of sessions. */
export interface Dispatcher {
  /** Answers the calls of a session. `session` is called for each of them. */
  on(session: () => Session, options?: Pick<DispatcherOptions, "admit">): AnswerCall;
}

export function createDispatcher(
  routes: (router: ConnectRouter) => void,
  { router, admit, toDecodeError, createHeaders }: DispatcherOptions = {},
): Dispatcher {
  const methods = createMethodTable(routes, router);
  return {
    on(session, own = {}) {
      const options = { admit: own.admit ?? admit, toDecodeError, createHeaders };
      return (call, stream, settle) => {
        const served = methods.get(call.path);
        if (served) {
          new ServerCall(session(), call, stream, settle, served, options).start();
          return;
        }
        stream.discardIncoming();
        const text = `${call.path} is not served here`;
        stream.end({ ...OK_STATUS, code: Code.Unimplemented, text });
        settle();
      };
    },
  };
}
