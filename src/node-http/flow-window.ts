import type { Http2Session } from "node:http2";

/**
 * The flow-control window in bytes of each HTTP/2 stream, and of each connection. The default of HTTP/2 is 64 KiB, a
 * single chunk of a file: sender and receiver then wait for each other in turn.
 */
export const WINDOW_BYTES = 256 * 1024;

/** Opens the window of a connection; that of its streams is a setting. Some runtimes cannot. */
export function openWindow(session: Http2Session): void {
  session.setLocalWindowSize?.(WINDOW_BYTES);
}
