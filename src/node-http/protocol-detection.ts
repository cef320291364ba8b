import type { Socket } from "node:net";

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
  let bytes = Buffer.alloc(0);
  socket.setTimeout(SILENT_MS, () => socket.destroy());
  const read = () => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    bytes = Buffer.concat([bytes, chunk]);
    const start = bytes.subarray(0, HTTP2_PREFACE.length).toString("latin1");
    if (start.length < HTTP2_PREFACE.length && HTTP2_PREFACE.startsWith(start)) return;
    socket.removeListener("readable", read);
    socket.removeAllListeners("timeout");
    socket.setTimeout(0);
    socket.unshift(bytes);
    onDetected(start === HTTP2_PREFACE ? "http2" : start.startsWith(TLS_HANDSHAKE) ? "tls" : "http1");
  };
  socket.on("readable", read);
}
