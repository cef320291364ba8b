import {
  type ContextKey,
  type ContextValues,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";

/**
 * Set on a call that may be retried although its method is not idempotent: "once" for a write whose condition lets it
 * take effect only once, "again" for a call that may take effect twice. If a retry of a conditional write meets a
 * conflict, the first attempt may have caused it, so the caller gets the first error.
 */
export const mayRepeat: ContextKey<"no" | "once" | "again"> = createContextKey("no");

/** `values` for the options of a conditional write. */
export const conditional = (values?: ContextValues): ContextValues => marked("once", values);

/** `values` for the options of a call that may take effect twice. */
export const repeatable = (values?: ContextValues): ContextValues => marked("again", values);

/** A view of `values` with the mark. It is not set on `values` themselves: the caller may use them for other calls. */
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
