/**
 * Carries a session: whole binary messages, in order, until it is closed. Browsers' and Node's `WebSocket`, `ws`,
 * a `MessagePort` and a pair in memory are supported; another carrier implements these four members.
 */
export interface Socket {
  /**
   * Sends a message. The caller does not touch its bytes again before `free` is called, when they are not needed any
   * more; a socket that hands the bytes themselves to the other end never calls it. Never throws: a closed socket drops
   * the message.
   */
  send(message: Uint8Array<ArrayBuffer>, free: () => void): void;
  /** The bytes that were accepted and are not yet passed to the network. */
  readonly bufferedBytes: number;
  /** Sets whether the open socket keeps a process alive that has nothing else to do. */
  keepProcessAlive(isBusy: boolean): void;
  /** Closes the socket, with a WebSocket close code and a reason of at most 123 bytes. Idempotent. */
  close(code: number, reason: string): void;
}

/** Events of a socket. Nothing is reported before a session listens, and nothing after `onClosed`. */
export interface SocketEvents {
  /** A message was received. The bytes belong to the receiver, and are a plain Uint8Array, not a Buffer. */
  onMessage(bytes: Uint8Array): void;
  /** `bufferedBytes` has fallen to 32 KiB or less, so that more can be sent. */
  onDrained(): void;
  /** The socket was closed by either end, or the connection was lost. */
  onClosed(code: number, reason: string): void;
}

/** An open socket: reports to `events` from now on. */
export type OpenSocket = (events: SocketEvents) => Socket;

/** `onDrained` is called when the buffered bytes fall to this. */
export const LOW_WATER_BYTES = 32 * 1024;

const MAX_REASON_BYTES = 123;

/** Truncates a close reason to the bytes that WebSocket allows. */
export function closeReason(text: string): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= MAX_REASON_BYTES) return text;
  // Removes a character that was cut in two.
  return new TextDecoder().decode(bytes.subarray(0, MAX_REASON_BYTES)).replace(/\ufffd+$/, "");
}
