/**
 * Errors of streams whose token the server refused although there is a fresh one now: "ended" if the token expired
 * during the stream, "refused" if the stream was refused when it began.
 */
export const tokenRefreshes = new WeakMap<object, "ended" | "refused">();

/**
 * Returns a function that tells, of each error of one stream in order, whether to reopen it at once with a fresh token.
 */
export function createTokenRefreshCheck(): (error: unknown) => boolean {
  let isRefused = false;
  return (error) => {
    const reason = tokenRefreshes.get(error as object);
    // If the server refuses the fresh token as well, reopening would never end.
    const shouldReopen = reason === "ended" || (reason === "refused" && !isRefused);
    isRefused = reason === "refused";
    return shouldReopen;
  };
}
