import { type ConnectRouter, type ContextKey, createContextValues } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";

/** What registers services with a router. */
export type Routes = (router: ConnectRouter) => void;

/** Answers one request, whatever its protocol. */
export type Handle = (request: UniversalServerRequest) => ReturnType<UniversalHandler>;

/** Registers `routes` with each of their handlers behind what `wrap` makes of it: on every adapter, as all call those. */
export function wrapHandlers(routes: Routes, wrap: (handler: UniversalHandler) => Handle): Routes {
  return (router) => {
    const { handlers } = router;
    const before = handlers.length;
    routes(router);
    for (const [i, handler] of handlers.entries()) {
      if (i >= before) handlers[i] = Object.assign(wrap(handler), { ...handler });
    }
  };
}

/** `request`, in whose context `key` has `value` from now on. */
export function withValue<T>(
  request: UniversalServerRequest,
  key: ContextKey<T>,
  value: T,
): UniversalServerRequest {
  if (!request.contextValues) return { ...request, contextValues: createContextValues().set(key, value) };
  request.contextValues.set(key, value);
  return request;
}
