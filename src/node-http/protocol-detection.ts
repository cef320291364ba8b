import type { Socket } from "node:net";
import { runAfter } from "../lib/timer.js";

/** The beginning of every HTTP/2 connection. */
const HTTP2_PREFACE = "PRI * HTTP/2.0";

/** The type of the record that every TLS connection begins with. */
const TLS_HANDSHAKE = "\u0016";

/** How long a connection may take to send its first bytes, or its TLS handshake, in milliseconds. */
export const SILENT_MS = 10_000;

/** Reads the first bytes of a connection until they show the protocol, puts them back, and calls `onDetected`. */
export function detectProtocol(
  socket: Socket,
  onDetected: (protocol: "http1" | "http2" | "tls") => void,
): void {
  let bytes: Buffer | undefined;
  // Not the timeout of the socket, which keeps its timer for as long as the connection is open.
  const stopTimer = runAfter(SILENT_MS, () => socket.destroy());
  socket.once("close", stopTimer);
  const read = () => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    bytes = bytes ? Buffer.concat([bytes, chunk]) : chunk;
    const start = bytes.subarray(0, HTTP2_PREFACE.length).toString("latin1");
    if (start.length < HTTP2_PREFACE.length && HTTP2_PREFACE.startsWith(start)) return;
    socket.removeListener("readable", read);
    socket.removeListener("close", stopTimer);
    stopTimer();
    socket.unshift(bytes);
    onDetected(start === HTTP2_PREFACE ? "http2" : start.startsWith(TLS_HANDSHAKE) ? "tls" : "http1");
  };
  socket.on("readable", read);
}
