import type { Http2Session } from "node:http2";

/**
 * How many bytes one side of an HTTP/2 connection takes before anyone reads them, for each stream and for all of them
 * together. By default it is 64 KiB, a single piece of a file, and sender and receiver then wait for each other in turn.
 */
export const WINDOW_BYTES = 256 * 1024;

/** Opens the window of the whole connection as far; that of its streams is a setting. Not every runtime can. */
export function openWindow(session: Http2Session): void {
  session.setLocalWindowSize?.(WINDOW_BYTES);
}
