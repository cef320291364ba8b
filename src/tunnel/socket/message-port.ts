import type { OpenSocket } from "./socket.js";

/** What a message port is used for here, as browsers, workers and Node have it. */
export interface MessagePortLike {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** A close, which a port itself does not tell the other end of. */
type Close = { code: number; reason: string };

/** A message port as a socket: each message is handed over without a copy where it has its buffer for itself. Credit alone bounds what is under way. */
export function overMessagePort(port: MessagePortLike): OpenSocket {
  return (events) => {
    let isClosed = false;
    const closed = ({ code, reason }: Close) => {
      if (isClosed) return;
      isClosed = true;
      port.close();
      events.onClosed(code, reason);
    };
    port.onmessage = ({ data }: MessageEvent<ArrayBuffer | Close>) => {
      if (data instanceof ArrayBuffer) events.onMessage(new Uint8Array(data));
      else closed(data);
    };
    return {
      send(message, free) {
        if (isClosed) return;
        const isAll = message.length === message.buffer.byteLength;
        const { buffer } = isAll ? message : message.slice();
        port.postMessage(buffer, [buffer]);
        if (!isAll) free();
      },
      bufferedBytes: 0,
      keepProcessAlive() {},
      close(code, reason) {
        if (isClosed) return;
        port.postMessage({ code, reason }, []);
        closed({ code, reason });
      },
    };
  };
}
