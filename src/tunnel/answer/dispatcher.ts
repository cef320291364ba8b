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
import type { Malformed } from "../wire/decode.js";
import { Answer } from "./answer.js";
import { invoke } from "./handler-context.js";
import type { Admit, Next, Served } from "./served-method.js";
import { Shutdown } from "./shutdown.js";

export interface DispatcherOptions {
  /** What a Connect router would be made with; of it, interceptors, the shutdown signal and the longest timeout are used. */
  router?: ConnectRouterOptions | undefined;
  /** Asked of every call. What it throws is the answer. Default: lets all in. */
  admit?: Admit | undefined;
  /** What a message is answered that cannot be read. Default: `invalid_argument`, with what is known of why. */
  malformed?: Malformed | undefined;
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
  const methods = new Map<string, Served>();
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
          : interceptors.reduceRight<Next>((next, interceptor) => interceptor(next), invoke),
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
        if (served) return new Answer(session(), call, stream, settle, served, own.admit ?? admit).start();
        stream.deafen();
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
