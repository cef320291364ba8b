/**
 * `fairlead/app`: what the server calls an app for, as routes for every Connect adapter. Through the tunnel,
 * `fl.pubsub.serve()` and `fl.service.serve()` of the client need nothing of it.
 *
 * @module
 */
export {
  type CallbackOptions,
  createCallbacks,
  type EventHandler,
  type EventHandlers,
  type EventSubscription,
  type Verdict,
} from "./client/pubsub/app-callback.js";
export { createInvocations } from "./client/service/handler.js";
export type { InvocationHandler } from "./client/service.js";
