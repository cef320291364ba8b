/**
 * The failures of streams that were refused their token, where another one is there by now: those that "ended" because
 * it expired, and those that were "refused" when they began.
 */
export const tokenRefreshes = new WeakMap<object, "ended" | "refused">();

/** Whether a stream that failed so is to be opened again at once; asked of each failure of one stream, in their order. */
export function createTokenRefreshCheck(): (error: unknown) => boolean {
  let isRefused = false;
  return (error) => {
    const how = tokenRefreshes.get(error as object);
    // One that is refused with the other token too would be for ever.
    const again = how === "ended" || (how === "refused" && !isRefused);
    isRefused = how === "refused";
    return again;
  };
}
