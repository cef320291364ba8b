import type { OpenSocket } from "./socket.js";

/** The members of a MessagePort that are used here, as browsers, workers and Node have them. */
export interface MessagePortLike {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** Tells the other end about a close: a port does not. */
type CloseNotice = { code: number; reason: string };

/**
 * A message port as a socket. A message that fills its buffer is transferred, not copied. A port has no backpressure:
 * only credit bounds what is in flight.
 */
export function overMessagePort(port: MessagePortLike): OpenSocket {
  return (events) => {
    let isClosed = false;
    const onClosed = ({ code, reason }: CloseNotice) => {
      if (isClosed) return;
      isClosed = true;
      port.close();
      events.onClosed(code, reason);
    };
    port.onmessage = ({ data }: MessageEvent<ArrayBuffer | CloseNotice>) => {
      if (data instanceof ArrayBuffer) events.onMessage(new Uint8Array(data));
      else onClosed(data);
    };
    return {
      send(message, free) {
        if (isClosed) return;
        const fillsBuffer = message.length === message.buffer.byteLength;
        const { buffer } = fillsBuffer ? message : message.slice();
        port.postMessage(buffer, [buffer]);
        if (!fillsBuffer) free();
      },
      bufferedBytes: 0,
      keepProcessAlive() {},
      close(code, reason) {
        if (isClosed) return;
        port.postMessage({ code, reason }, []);
        onClosed({ code, reason });
      },
    };
  };
}
