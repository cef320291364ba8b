/** The WebSocket subprotocol. It names the version of the protocol. */
export const SUBPROTOCOL = "fairlead.tunnel.v1";

/** The kinds of frames: the low four bits of a frame's first byte. */
export const KIND = {
  settings: 1,
  call: 2,
  message: 3,
  headers: 4,
  status: 5,
  reset: 6,
  credit: 7,
  ping: 8,
  pong: 9,
  goaway: 10,
  end: 11,
} as const;

/** The flags of a frame: the high four bits of its first byte. Bits 6 and 7 are reserved. */
export const FLAG = {
  /** The half of the stream ends with this frame. On a message of the answering half it also means status OK. */
  end: 0x10,
  /** The message continues in the next MESSAGE frame of its stream. */
  more: 0x20,
} as const;

/** Header names in lower case and their values, in order. A name may occur more than once. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** How the answering half ended. */
export interface CallStatus {
  /** A Connect code; 0 for OK. */
  readonly code: number;
  readonly text: string;
  readonly details: readonly { readonly type: string; readonly value: Uint8Array }[];
  readonly trailers: HeaderList;
}

export const NO_HEADERS: HeaderList = [];

/** Status OK, without trailers. */
export const OK_STATUS: CallStatus = { code: 0, text: "", details: [], trailers: NO_HEADERS };

/** The most details of a status. */
export const MAX_DETAILS = 64;

/** The settings of one end. An absent one stays as it was; the defaults hold until the first SETTINGS frame. */
export interface Settings {
  /** The credit in bytes that each stream begins with, towards this end. Default: 65536. */
  streamWindow?: number;
  /** The credit in bytes of all streams together, towards this end. Default: 262144. */
  connectionWindow?: number;
  /** How many calls this end answers at the same time. Default: 100. */
  calls?: number;
  /** The most bytes of a header list that this end accepts. Default: 16384. */
  headerBytes?: number;
  /** The app at this end. Default: none. */
  appId?: string;
  /** The `authorization` header of calls that have none of their own. Default: none. */
  authorization?: string;
  /** The number of this end's offer: it rises whenever the set of served routes changes; 0 if none are. Default: 0. */
  offer?: number;
  /** The number of the other end's offer that this end now calls. Default: 0. */
  calledOffer?: number;
}

/** The keys of the settings on the wire. A peer ignores keys that it does not know. */
export const SETTING = {
  streamWindow: 1,
  connectionWindow: 2,
  calls: 3,
  headerBytes: 4,
  appId: 5,
  authorization: 6,
  offer: 7,
  calledOffer: 8,
} as const;

/** Receives frames as they are read. It must copy bytes of settings and status if it keeps them. */
export interface FrameReceiver {
  /** Whether to stop reading, also within a WebSocket message. */
  readonly isClosed: boolean;
  settings(settings: Settings): void;
  call(id: number, method: number | string, timeoutMs: number | undefined, header: HeaderList): void;
  message(id: number, bytes: Uint8Array, end: boolean, more: boolean): void;
  end(id: number): void;
  headers(id: number, header: HeaderList): void;
  status(id: number, status: CallStatus): void;
  reset(id: number, code: number): void;
  credit(id: number, bytes: number): void;
  ping(number: number): void;
  pong(number: number): void;
  goaway(lastId: number, reason: string): void;
}
