/** A violation of the protocol by the peer. It closes the socket with `closeCode`. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly closeCode: number;

  constructor(reason: string, closeCode: number = CLOSE_CODE.protocolError) {
    super(reason);
    this.closeCode = closeCode;
  }
}

/** The WebSocket close codes of the protocol; those from 4000 on are its own. */
export const CLOSE_CODE = {
  /** Idle, drained, or not needed any more. */
  normal: 1000,
  /** A frame that is malformed, of an unknown kind, or not allowed at this point. */
  protocolError: 4000,
  /** More bytes than there was credit for. */
  flowControl: 4001,
  /** A limit of frames, headers or calls was exceeded. */
  limit: 4002,
  /** Nothing was received for too long. */
  timeout: 4003,
  /** The server does not admit this peer or its credentials. */
  refused: 4004,
} as const;
