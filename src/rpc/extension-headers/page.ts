// The extension headers that a page needs before it loads more code. Bundlers keep the constants of a file together, so
// with the others beside them, every page would carry all of them.

/**
 * Response header of every answer and error of a Fairlead server. It tells clients that the server supports
 * the other extension headers.
 *
 * Format: the version of the package, "0.1.0".
 */
export const SERVER_HEADER = "fairlead-server";

/**
 * Response header of SaveState and ExecuteStateTransaction: the etag of every entry that was written.
 *
 * Format: an etag.
 */
export const ETAG_HEADER = "fairlead-etag";
