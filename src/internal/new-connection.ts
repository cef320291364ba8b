import { type ContextKey, createContextKey } from "@connectrpc/connect";

/**
 * Set on a call whose last try had no answer: it does not go over a connection that has been silent since. For what has
 * to arrive in time although a connection may have died without a word, as the renewal of a lease.
 */
export const needsNewConnection: ContextKey<boolean> = createContextKey(false, {
  description: "needs a new connection",
});
