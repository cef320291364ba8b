/**
 * `fairlead/app`: handlers of events and invocations that the server sends to an app, as routes for every Connect
 * adapter. Over a tunnel, `fl.pubsub.serve()` and `fl.service.serve()` of the client do the same without it.
 *
 * @module
 */
export { createCallbacks } from "./client/pubsub/app-callback.js";
export type {
  CallbackOptions,
  EventHandler,
  EventHandlers,
  EventStatus,
  EventSubscription,
} from "./client/pubsub.js";
export { createInvocations } from "./client/service/handler.js";
export type { InvocationHandler } from "./client/service.js";
