/** What a peer did that the protocol forbids. It costs the peer its socket, and no one else anything. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  /** The code that the socket is closed with. */
  readonly closeCode: number;

  constructor(reason: string, closeCode: number = CLOSE_CODE.protocolError) {
    super(reason);
    this.closeCode = closeCode;
  }
}

/** Why a socket is closed: WebSocket close codes, of which 4000 and above are ours. */
export const CLOSE_CODE = {
  /** Nothing is wrong: idle, drained, or not needed any more. */
  normal: 1000,
  /** A frame that is broken, of an unknown kind, or not allowed where it came. */
  protocolError: 4000,
  /** More bytes than there was credit for. */
  flowControl: 4001,
  /** A limit on frames, headers or calls was passed. */
  limit: 4002,
  /** Nothing was heard for too long. */
  timeout: 4003,
  /** The server lets this peer or its credentials not in. */
  refused: 4004,
} as const;
