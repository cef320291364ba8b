import {
  type ContextKey,
  type ContextValues,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";

/**
 * Set on a call that may be sent again although its method may not: "once" for a write whose condition lets it happen
 * only once, "again" for a call that does no harm by happening twice. Where a second try of a conditional write meets
 * a conflict, that may be the first one's own doing, so the first failure is what the caller is told.
 */
export const mayRepeat: ContextKey<"no" | "once" | "again"> = createContextKey("no");

/** The context values of a conditional write, for its call options. */
export const conditional = (values?: ContextValues): ContextValues => marked("once", values);

/** The context values of a call that may happen twice, for its call options. */
export const repeatable = (values?: ContextValues): ContextValues => marked("again", values);

/** The caller's own `values`, seen through a mark: they may be used for other calls, so they stay as they are. */
function marked(mark: "once" | "again", values = createContextValues()): ContextValues {
  const view: ContextValues = {
    get: <T>(key: ContextKey<T>) => (key.id === mayRepeat.id ? mark : values.get(key)) as T,
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
