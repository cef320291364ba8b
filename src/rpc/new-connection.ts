import {
  type ContextKey,
  type ContextValues,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";

/**
 * Set on a call whose last try had no answer: it does not go over a connection that has been silent since. For what has
 * to arrive in time although a connection may have died without a word, as the renewal of a lease.
 */
export const needsNewConnection: ContextKey<boolean> = createContextKey(false, {
  description: "needs a new connection",
});

/** The context values of a call that must not rely on a silent connection, for its call options. */
export function requireNewConnection(values = createContextValues()): ContextValues {
  // The caller's own values may be used for other calls, so they stay as they are.
  const view: ContextValues = {
    get: <T>(key: ContextKey<T>) => (key.id === needsNewConnection.id ? true : values.get(key)) as T,
    set(key, value) {
      values.set(key, value);
      return view;
    },
    delete(key) {
      values.delete(key);
      return view;
    },
  };
  return view;
}
