/** The names of a trace context of W3C: as headers, and as the attributes of a CloudEvent. */
const PARENT = "traceparent";
const STATE = "tracestate";

/** What W3C allows, so that nothing else passes from a header into what is kept. */
const PARENT_FORM =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]{1,64})?$/;
const STATE_FORM = /^[\x20-\x7e]{1,512}$/;

/** The trace that `read` finds, by the names that it has in headers and in CloudEvents; empty where there is none. */
export function traceContext(read: (name: string) => string | null | undefined): Record<string, string> {
  const parent = read(PARENT);
  if (!parent || !PARENT_FORM.test(parent)) return {};
  const state = read(STATE);
  return { [PARENT]: parent, ...(state && STATE_FORM.test(state) && { [STATE]: state }) };
}
