/**
 * What carries a session: whole binary messages, in order, until it is closed. Browsers' and Node's `WebSocket`, `ws`,
 * a `MessagePort` and a pair in memory are such; another one needs these four members.
 */
export interface Socket {
  /**
   * Takes a message, which the caller does not touch again before `free` is called: when nobody needs its bytes any
   * more. A socket whose other end goes on with the same bytes never calls it. Never throws: a closed socket drops it.
   */
  send(message: Uint8Array<ArrayBuffer>, free: () => void): void;
  /** How many bytes it has taken and not yet handed on to the network. */
  readonly bufferedBytes: number;
  /** Whether it keeps a process alive that has nothing else to do. */
  keepProcessAlive(busy: boolean): void;
  /** Closes it, with a WebSocket close code and a reason of at most 123 bytes. Idempotent. */
  close(code: number, reason: string): void;
}

/** What a socket tells. Nothing before it is given them, and nothing after `closed`. */
export interface SocketEvents {
  /** A message came; the bytes are whoever's takes them, and of the type Uint8Array itself. */
  onMessage(bytes: Uint8Array): void;
  /** `buffered` has fallen so low that more can be sent. */
  onDrained(): void;
  /** It is closed, by either end or by what lies between. */
  onClosed(code: number, reason: string): void;
}

/** An open socket, which begins to tell once it knows whom. */
export type OpenSocket = (events: SocketEvents) => Socket;

/** Below how many bytes `drained` is told. */
export const LOW_WATER = 32 * 1024;

/** A close reason in as many bytes as WebSocket allows. */
export function closeReason(text: string): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= MOST_REASON) return text;
  // Cut at a character, not within one.
  return new TextDecoder().decode(bytes.subarray(0, MOST_REASON)).replace(/\ufffd+$/, "");
}

const MOST_REASON = 123;
