import { fromUtf8, utf8 } from "../../../../lib/utf8.js";

/** A message of an exchange between two servers, about one request and its answer. */
export type PeerFrame =
  /** The size of a body, and its first bytes. */
  | { type: "first"; size: number; bytes: Uint8Array }
  /** Further bytes of a body. */
  | { type: "next"; offset: number; bytes: Uint8Array }
  /** The other side's body has arrived up to `offset`. */
  | { type: "received"; offset: number }
  /** The request is in progress. */
  | { type: "working" }
  /** The sender takes no further part in the exchange. */
  | { type: "cancel" }
  /** The handler failed. */
  | { type: "failed"; message: string };

const TYPES = [
  "first",
  "next",
  "received",
  "working",
  "cancel",
  "failed",
] as const satisfies PeerFrame["type"][];

/** The bytes of a frame before those of a body. */
export const PEER_FRAME_HEADER_BYTES = 5;

/** The most characters of an error's message. */
const MESSAGE_CHARS = 4096;

const NONE = new Uint8Array();

/** A frame as a byte for its type, a number in four bytes, and bytes. */
export function encodePeerFrame(frame: PeerFrame): Uint8Array {
  const { number, bytes } = partsOf(frame);
  const encoded = new Uint8Array(PEER_FRAME_HEADER_BYTES + bytes.length);
  encoded[0] = TYPES.indexOf(frame.type);
  new DataView(encoded.buffer).setUint32(1, number);
  encoded.set(bytes, PEER_FRAME_HEADER_BYTES);
  return encoded;
}

function partsOf(frame: PeerFrame): { number: number; bytes: Uint8Array } {
  switch (frame.type) {
    case "first":
      return { number: frame.size, bytes: frame.bytes };
    case "next":
      return { number: frame.offset, bytes: frame.bytes };
    case "received":
      return { number: frame.offset, bytes: NONE };
    case "failed":
      return { number: 0, bytes: utf8(frame.message.slice(0, MESSAGE_CHARS)) };
    default:
      return { number: 0, bytes: NONE };
  }
}

/** Undefined for a frame of another version, which is ignored. */
export function decodePeerFrame(encoded: Uint8Array): PeerFrame | undefined {
  if (encoded.length < PEER_FRAME_HEADER_BYTES) return undefined;
  const type = TYPES[encoded[0] as number];
  const { buffer, byteOffset, length } = encoded;
  const number = new DataView(buffer, byteOffset).getUint32(1);
  // Not subarray(): on Node NATS passes a Buffer, whose parts are Buffers too.
  const bytes = new Uint8Array(
    buffer,
    byteOffset + PEER_FRAME_HEADER_BYTES,
    length - PEER_FRAME_HEADER_BYTES,
  );
  switch (type) {
    case "first":
      return { type, size: number, bytes };
    case "next":
      return { type, offset: number, bytes };
    case "received":
      return { type, offset: number };
    case "failed":
      return { type, message: fromUtf8(bytes) };
    case "working":
    case "cancel":
      return { type };
    default:
      return undefined;
  }
}
