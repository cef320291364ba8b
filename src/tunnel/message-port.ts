import type { OpenSocket } from "./socket.js";

/** What a message port is used for here, as browsers, workers and Node have it. */
export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** A close, which a port itself does not tell the other end of. */
type Close = { code: number; reason: string };

/** A message port as a socket: each message is handed over as it is, without a copy. Credit alone bounds what is under way. */
export function overPort(port: Port): OpenSocket {
  return (events) => {
    let isClosed = false;
    const closed = ({ code, reason }: Close) => {
      if (isClosed) return;
      isClosed = true;
      port.close();
      events.closed(code, reason);
    };
    port.onmessage = ({ data }: MessageEvent<ArrayBuffer | Close>) => {
      if (data instanceof ArrayBuffer) events.message(new Uint8Array(data));
      else closed(data);
    };
    return {
      send(message) {
        if (!isClosed) port.postMessage(message.buffer, [message.buffer]);
      },
      buffered: 0,
      hold() {},
      close(code, reason) {
        if (isClosed) return;
        port.postMessage({ code, reason }, []);
        closed({ code, reason });
      },
    };
  };
}
