import { type ConnectRouter, type ContextKey, createContextValues } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";

/** Registers services with a router. */
export type Routes = (router: ConnectRouter) => void;

/** Answers one request of any protocol. */
export type Handle = (request: UniversalServerRequest) => ReturnType<UniversalHandler>;

/** Wraps each handler that `routes` register with `wrap`. Every adapter of Connect calls these handlers. */
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

/** `request` with `value` at `key` of its context values. */
export function withValue<T>(
  request: UniversalServerRequest,
  key: ContextKey<T>,
  value: T,
): UniversalServerRequest {
  if (!request.contextValues) return { ...request, contextValues: createContextValues().set(key, value) };
  request.contextValues.set(key, value);
  return request;
}
