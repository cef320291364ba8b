import { ByteWriter } from "../../src/tunnel/wire/bytes.js";
import type { CallStatus, FrameReceiver, HeaderList, Settings } from "../../src/tunnel/wire/frame.js";
import { type FrameLimits, readFrames } from "../../src/tunnel/wire/read-frame.js";
import * as frame from "../../src/tunnel/wire/write-frame.js";

/** A frame as a value. */
export type Frame =
  | { kind: "settings"; settings: Settings }
  | { kind: "call"; id: number; method: number | string; timeoutMs: number | undefined; header: HeaderList }
  | { kind: "message"; id: number; bytes: Uint8Array; end: boolean; more: boolean }
  | { kind: "headers"; id: number; header: HeaderList }
  | { kind: "status"; id: number; status: CallStatus }
  | { kind: "reset"; id: number; code: number }
  | { kind: "credit"; id: number; bytes: number }
  | { kind: "ping"; number: number }
  | { kind: "pong"; number: number }
  | { kind: "goaway"; lastId: number; reason: string }
  | { kind: "end"; id: number };

export const ANY: FrameLimits = { frameBytes: 256 * 1024, headerBytes: 64 * 1024 };

/** The bytes of frames, as written by src/. */
export function bytesOf(...frames: Frame[]): Uint8Array<ArrayBuffer> {
  const to = new ByteWriter();
  for (const each of frames) write[each.kind](to, each as never);
  return to.take();
}

const write: { [K in Frame["kind"]]: (to: ByteWriter, each: Extract<Frame, { kind: K }>) => void } = {
  settings: (to, { settings }) => frame.writeSettings(to, settings),
  call: (to, { id, method, timeoutMs, header }) => frame.writeCall(to, id, method, timeoutMs, header),
  message: (to, { id, bytes, end, more }) => frame.writeMessage(to, id, bytes, end, more),
  headers: (to, { id, header }) => frame.writeHeaders(to, id, header),
  status: (to, { id, status }) => frame.writeStatus(to, id, status),
  reset: (to, { id, code }) => frame.writeReset(to, id, code),
  credit: (to, { id, bytes }) => frame.writeCredit(to, id, bytes),
  ping: (to, { number }) => frame.writePing(to, number),
  pong: (to, { number }) => frame.writePong(to, number),
  goaway: (to, { lastId, reason }) => frame.writeGoaway(to, lastId, reason),
  end: (to, { id }) => frame.writeEnd(to, id),
};

/** The frames of a message, as read by src/. */
export function framesOf(message: Uint8Array, most = ANY): Frame[] {
  const frames: Frame[] = [];
  readFrames(
    message,
    receiver((each) => frames.push(each)),
    most,
  );
  return frames;
}

/** Receives frames as values. Copies the bytes of messages, as every receiver that keeps them must. */
export function receiver(take: (frame: Frame) => void): FrameReceiver {
  return {
    isClosed: false,
    settings: (settings) => take({ kind: "settings", settings }),
    call: (id, method, timeoutMs, header) => take({ kind: "call", id, method, timeoutMs, header }),
    message: (id, bytes, end, more) => take({ kind: "message", id, bytes: bytes.slice(), end, more }),
    headers: (id, header) => take({ kind: "headers", id, header }),
    status: (id, status) => take({ kind: "status", id, status }),
    reset: (id, code) => take({ kind: "reset", id, code }),
    credit: (id, bytes) => take({ kind: "credit", id, bytes }),
    ping: (number) => take({ kind: "ping", number }),
    pong: (number) => take({ kind: "pong", number }),
    goaway: (lastId, reason) => take({ kind: "goaway", lastId, reason }),
    end: (id) => take({ kind: "end", id }),
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

export const unhex = (text: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));

/** A frame as JSON: bytes in hexadecimal, no timeout as null. */
export const asJson = (value: Frame): string =>
  JSON.stringify(value, (key, part: unknown) =>
    part instanceof Uint8Array ? hex(part) : key === "timeoutMs" && part === undefined ? null : part,
  );
