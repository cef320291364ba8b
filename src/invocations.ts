import type { ConnectRouter } from "@connectrpc/connect";
import { Runtime } from "../gen/runtime/invocation/spec/proto/runtime/v1/runtime_pb.js";
import type { InvocationHandler } from "./internal/answer-invocation.js";
import { loaded } from "./internal/later.js";

export type { InvocationHandler };

/**
 * Answers invocations of this app that come through the tunnel, each as one HTTP request: what `service(id).fetch()`
 * sends is what the handler gets. A handler that throws is `internal` to the caller, with the error's message.
 */
export function createInvocations(handler: InvocationHandler): (router: ConnectRouter) => void {
  return (router) => {
    router.rpc(Runtime.method.invokeService, async (request, context) => {
      const { answerInvocation } = await loaded(import("./on-demand.js"));
      return answerInvocation(handler, request, context);
    });
  };
}
