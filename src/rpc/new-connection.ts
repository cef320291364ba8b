import {
  type ContextKey,
  type ContextValues,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";

/**
 * Set on a retry of a call that had no answer: it does not use a connection that has been silent since. For calls with
 * a deadline, such as the renewal of a lease, because a connection may be lost without a signal.
 */
export const needsNewConnection: ContextKey<boolean> = createContextKey(false, {
  description: "needs a new connection",
});

/** `values` for the options of a call that must not use a silent connection. */
export function requireNewConnection(values = createContextValues()): ContextValues {
  // Not set on `values` themselves: the caller may use them for other calls.
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
