/** The names of a W3C trace context, as headers and as attributes of a CloudEvent. */
const PARENT = "traceparent";
const STATE = "tracestate";

/** The values that W3C allows. Others are not copied from a header. */
const PARENT_FORM =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]{1,64})?$/;
const STATE_FORM = /^[\x20-\x7e]{1,512}$/;

/** The trace context that `read` returns by these names; empty if there is none or it is invalid. */
export function traceContext(read: (name: string) => string | null | undefined): Record<string, string> {
  const parent = read(PARENT);
  if (!parent || !PARENT_FORM.test(parent)) return {};
  const state = read(STATE);
  return { [PARENT]: parent, ...(state && STATE_FORM.test(state) && { [STATE]: state }) };
}
