import {
  Code,
  type ConnectRouter,
  type ConnectRouterOptions,
  createMethodImplSpec,
  createServiceImplSpec,
  type MethodImplSpec,
} from "@connectrpc/connect";
import { methodPath } from "../call/method-path.js";
import type { Session } from "../session.js";
import type { SessionOptions } from "../session-options.js";
import type { ToDecodeError } from "../wire/decode.js";
import { invokeHandler } from "./handler-context.js";
import type { Admit, InterceptorNext, ServedMethod } from "./served-method.js";
import { ServerCall } from "./server-call.js";
import { Shutdown } from "./shutdown.js";

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
  const methods = new Map<string, ServedMethod>();
  const shutdowns = new Map<AbortSignal, Shutdown>();
  const shutdownOf = (signal: AbortSignal): Shutdown => {
    const known = shutdowns.get(signal) ?? new Shutdown(signal);
    shutdowns.set(signal, known);
    return known;
  };
  const add = (spec: MethodImplSpec, options: ConnectRouterOptions = {}) => {
    const {
      interceptors = [],
      shutdownSignal,
      maxTimeoutMs = Number.POSITIVE_INFINITY,
    } = { ...base, ...options };
    const { method } = spec;
    methods.set(methodPath(method), {
      spec,
      // Made once, not for each call.
      next:
        interceptors.length === 0
          ? undefined
          : interceptors.reduceRight<InterceptorNext>(
              (next, interceptor) => interceptor(next),
              invokeHandler,
            ),
      shutdown: shutdownSignal && shutdownOf(shutdownSignal),
      maxTimeoutMs,
      malformed,
    });
  };
  const router: ConnectRouter = {
    handlers: [],
    service(service, implementation, options) {
      for (const spec of Object.values(createServiceImplSpec(service, implementation).methods))
        add(spec, options);
      return router;
    },
    rpc(method, implementation, options) {
      add(createMethodImplSpec(method, implementation), options);
      return router;
    },
  };
  routes(router);
  return {
    on:
      (session, own = {}) =>
      (call, stream, settle) => {
        const served = methods.get(call.path);
        if (served)
          return new ServerCall(session(), call, stream, settle, served, own.admit ?? admit).start();
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
