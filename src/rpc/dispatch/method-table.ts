import {
  type ConnectRouter,
  type ConnectRouterOptions,
  createMethodImplSpec,
  createServiceImplSpec,
  type MethodImplSpec,
} from "@connectrpc/connect";
import { invokeHandler } from "./call-context.js";
import { methodPath } from "./method-path.js";
import type { InterceptorNext, ServedMethod } from "./served-method.js";
import { StoppableCalls } from "./stoppable-calls.js";

/** The methods that `routes` register, by path. The interceptors of each are composed here, not for each call. */
export function createMethodTable(
  routes: (router: ConnectRouter) => void,
  base: ConnectRouterOptions = {},
): ReadonlyMap<string, ServedMethod> {
  const methods = new Map<string, ServedMethod>();
  const shutdowns = new Map<AbortSignal, StoppableCalls>();
  const shutdownOf = (signal: AbortSignal): StoppableCalls => {
    const known = shutdowns.get(signal) ?? new StoppableCalls(signal);
    shutdowns.set(signal, known);
    return known;
  };
  const add = (spec: MethodImplSpec, own: ConnectRouterOptions = {}) => {
    const options = { ...base, ...own };
    const { interceptors = [], shutdownSignal, maxTimeoutMs = Number.POSITIVE_INFINITY } = options;
    methods.set(methodPath(spec.method), {
      spec,
      next:
        interceptors.length === 0
          ? undefined
          : interceptors.reduceRight<InterceptorNext>(
              (next, interceptor) => interceptor(next),
              invokeHandler,
            ),
      shutdown: shutdownSignal && shutdownOf(shutdownSignal),
      maxTimeoutMs,
      options,
    });
  };
  const router: ConnectRouter = {
    handlers: [],
    service(service, implementation, options) {
      const { methods: specs } = createServiceImplSpec(service, implementation);
      for (const spec of Object.values(specs)) add(spec, options);
      return router;
    },
    rpc(method, implementation, options) {
      add(createMethodImplSpec(method, implementation), options);
      return router;
    },
  };
  routes(router);
  return methods;
}
