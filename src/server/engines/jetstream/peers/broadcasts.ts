import { PEER_FRAME_HEADER_BYTES, type PeerFrame } from "./frame.js";

/** A broadcast whose next part is this late is dropped, in milliseconds. */
const PART_TIMEOUT_MS = 5000;

/** Splits a broadcast. Its parts are not confirmed, so a lost one loses the broadcast. */
export function* splitBroadcast(body: Uint8Array, partBytes: number): Generator<PeerFrame, void, undefined> {
  yield { type: "first", size: body.length, bytes: body.subarray(0, partBytes) };
  for (let offset = partBytes; offset < body.length; offset += partBytes) {
    yield { type: "next", offset, bytes: body.subarray(offset, offset + partBytes) };
  }
}

type Partial = { body: Uint8Array; received: number; atMs: number };

/** Joins the parts of broadcasts. The parts of one sender arrive in order, so each sender has at most one at a time. */
export class BroadcastReceiver {
  readonly #partials = new Map<string, Partial>();

  /** The broadcast that this frame completes; undefined if it completes none. */
  add(sender: string, frame: PeerFrame): Uint8Array | undefined {
    const nowMs = performance.now();
    for (const [other, { atMs }] of this.#partials)
      if (nowMs - atMs > PART_TIMEOUT_MS) this.#partials.delete(other);
    if (frame.type === "first") {
      this.#partials.delete(sender);
      if (frame.bytes.length >= frame.size) return frame.bytes;
      const body = new Uint8Array(frame.size);
      body.set(frame.bytes);
      this.#partials.set(sender, { body, received: frame.bytes.length, atMs: nowMs });
      return undefined;
    }
    const partial = this.#partials.get(sender);
    if (frame.type !== "next" || !partial) return undefined;
    if (frame.offset !== partial.received || frame.offset + frame.bytes.length > partial.body.length) {
      this.#partials.delete(sender);
      return undefined;
    }
    partial.body.set(frame.bytes, frame.offset);
    partial.received += frame.bytes.length;
    partial.atMs = nowMs;
    if (partial.received < partial.body.length) return undefined;
    this.#partials.delete(sender);
    return partial.body;
  }
}

/** The bytes of a body that fit in one message of the cluster. */
export const partBytesOf = (maxPayload: number): number =>
  Math.min(MOST_PART_BYTES, maxPayload - PEER_FRAME_HEADER_BYTES);

/** Larger parts would delay other messages of the connection. */
const MOST_PART_BYTES = 256 * 1024;
