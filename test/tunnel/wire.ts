import assert from "node:assert/strict";
import type { OpenSocket } from "../../src/tunnel/socket/socket.js";

/** A frame by docs/tunnel.md. The tests have their own parser, independent of the code under test. */
export interface WireFrame {
  kind: string;
  /** The stream; 0 if it has none. */
  id: number;
  end: boolean;
  more: boolean;
  /** The bytes of the message, the bytes of credit, or the code, by the kind. */
  number: number;
  /** The whole body. */
  body: Uint8Array;
}

const NAMES = "0 SETTINGS CALL MESSAGE HEADERS STATUS RESET CREDIT PING PONG GOAWAY END".split(" ");

export function parse(message: Uint8Array): WireFrame[] {
  const frames: WireFrame[] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++];
      assert(byte !== undefined, "a varint is cut short");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const first = message[at++] as number;
    const length = varint();
    const start = at;
    const kind = NAMES[first & 15] ?? "unknown";
    const id = ["SETTINGS", "PING", "PONG"].includes(kind) ? 0 : varint();
    const number =
      kind === "MESSAGE"
        ? start + length - at
        : ["STATUS", "RESET", "CREDIT", "PING", "PONG"].includes(kind)
          ? varint()
          : 0;
    const body = message.subarray(start, start + length);
    assert.equal(body.length, length, "a frame is cut short");
    at = start + length;
    frames.push({ kind, id, number, body, end: (first & 0x10) !== 0, more: (first & 0x20) !== 0 });
  }
  return frames;
}

/** The number that SETTINGS has for a key. */
function setting(body: Uint8Array, wanted: number): number | undefined {
  for (let at = 0; at < body.length; ) {
    const key = body[at] as number;
    const length = body[at + 1] as number;
    const value = body.subarray(at + 2, at + 2 + length);
    at += 2 + length;
    if (key === wanted) return value.reduce((sum, byte, i) => sum + (byte & 0x7f) * 128 ** i, 0);
  }
  return undefined;
}

const COST = 32;

/** An observer's state of one stream. */
interface Seen {
  /** The remaining credit of its writer. */
  credit: number;
  hasMessage: boolean;
  hasHeaders: boolean;
  /** Whether this end has ended its half. The other observer has that of the other end. */
  isEnded: boolean;
  isMidMessage: boolean;
}

/**
 * Wraps the socket of a session, and checks the frames that the session sends against the protocol. Of the other end it
 * knows only the delivered frames. Throws at once, so that the stack shows which frame is wrong.
 */
export class Observer {
  readonly faults: Error[] = [];
  /** How many frames of each kind this end has sent. */
  readonly sent: Record<string, number> = {};
  readonly streams = new Map<number, Seen>();
  /** The remaining credit of all streams together, and the least that it ever was. */
  credit = 256 * 1024;
  lowestCredit = this.credit;
  /** The credit that the other end has not used. */
  granted = 256 * 1024;
  #window = 64 * 1024;
  #connectionWindow = 256 * 1024;
  #ownWindow = 64 * 1024;
  #ownConnectionWindow = 256 * 1024;
  #lastId = 0;
  #lastPeerId = 0;
  #methods = 0;
  #hasSettings = false;
  #hasLeft = false;
  /** Streams that the other end has closed: they end once the message in the buffer is sent. */
  readonly #closing: number[] = [];
  readonly #parity: number;
  /** Called with each message that is sent. */
  onMessage: (bytes: Uint8Array) => void = () => {};

  /** `parity`: 1 for the dialler. */
  constructor(parity: number) {
    this.#parity = parity;
  }

  /** Wraps `open`: everything that passes is observed. */
  watch(open: OpenSocket): OpenSocket {
    return (events) => {
      const socket = open({
        ...events,
        onMessage: (bytes) => {
          this.#note(() => {
            for (const frame of parse(bytes)) this.#received(frame);
          });
          events.onMessage(bytes);
        },
      });
      return {
        send: (bytes, free) => {
          this.#note(() => {
            assert(bytes.length <= 1024 * 1024, "a WebSocket message of more than 1 MiB");
            this.onMessage(bytes);
            for (const frame of parse(bytes)) this.#check(frame);
            for (const id of this.#closing.splice(0)) this.streams.delete(id);
          });
          socket.send(bytes, free);
        },
        get bufferedBytes() {
          return socket.bufferedBytes;
        },
        keepProcessAlive: (busy) => socket.keepProcessAlive(busy),
        close: (code, reason) => socket.close(code, reason),
      };
    };
  }

  /** Violations are recorded, and not thrown into the session, which could hide them. */
  #note(look: () => void): void {
    try {
      look();
    } catch (fault) {
      this.faults.push(fault as Error);
    }
  }

  #received({ kind, id, number, body, end }: WireFrame): void {
    if (kind === "SETTINGS") {
      const window = setting(body, 1) ?? this.#window;
      const connectionWindow = setting(body, 2) ?? this.#connectionWindow;
      for (const seen of this.streams.values()) seen.credit += window - this.#window;
      this.credit += connectionWindow - this.#connectionWindow;
      this.#window = window;
      this.#connectionWindow = connectionWindow;
    }
    if (kind === "CREDIT" && id === 0) this.credit += number;
    if (kind === "CREDIT" && id !== 0) {
      const seen = this.streams.get(id);
      if (seen) seen.credit += number;
    }
    if (kind === "MESSAGE") this.granted -= number + COST;
    assert(this.granted >= 0, `the other end has overdrawn the connection by ${-this.granted}`);
    if (kind === "CALL" && !this.#hasLeft) {
      assert(id > this.#lastPeerId, "a call's number is not higher than the earlier ones");
      this.#lastPeerId = id;
      this.#begin(id);
    }
    // The response is complete, or the call was reset: the session may send only what it has written already.
    const isAnswered = this.#isMine(id) && (kind === "STATUS" || (kind === "MESSAGE" && end));
    if (kind === "RESET" || isAnswered) this.#closing.push(id);
  }

  #begin(id: number): Seen {
    const seen = {
      credit: this.#window,
      hasMessage: false,
      hasHeaders: false,
      isEnded: false,
      isMidMessage: false,
    };
    this.streams.set(id, seen);
    return seen;
  }

  /** The streams that are open, as far as this end knows. */
  get open(): number[] {
    return [...this.streams.keys()].filter((id) => !this.#closing.includes(id));
  }

  #isMine(id: number): boolean {
    return id % 2 === this.#parity;
  }

  #check(frame: WireFrame): void {
    const { kind, id, number, end, more } = frame;
    this.sent[kind] = (this.sent[kind] ?? 0) + 1;
    assert(kind !== "unknown" && kind !== "0");
    assert(frame.body.length <= 256 * 1024, `a ${kind} of ${frame.body.length} bytes`);
    assert(this.#hasSettings || kind === "SETTINGS", `${kind} before SETTINGS`);
    assert(kind === "MESSAGE" || (!end && !more), `${kind} has flags`);
    if (kind === "SETTINGS") this.#settings(frame);
    if (kind === "GOAWAY") this.#hasLeft = true;
    if (kind === "CREDIT" && id === 0) this.granted += number;
    if (kind === "CALL") {
      assert(this.#isMine(id) && id > this.#lastId, `CALL ${id} after ${this.#lastId}`);
      this.#lastId = id;
      // The method: 0 and the path, or the number of an earlier path.
      const method = frame.body[id < 128 ? 1 : id < 16384 ? 2 : 3] as number;
      assert(method <= this.#methods, `method ${method} has not been named`);
      if (method === 0) this.#methods++;
      this.#begin(id);
    }
    if (!["MESSAGE", "HEADERS", "STATUS", "END", "RESET"].includes(kind)) return;
    const seen = this.streams.get(id);
    assert(seen, `${kind} on stream ${id}, which is over or has not begun`);
    if (kind === "RESET") {
      assert(number >= 1 && number <= 16);
      this.streams.delete(id);
      return;
    }
    assert(!seen.isEnded, `${kind} on stream ${id} behind its end`);
    if (kind === "MESSAGE") this.#message(seen, frame);
    if (kind === "HEADERS") {
      assert(!this.#isMine(id) && !seen.hasMessage && !seen.hasHeaders, `HEADERS on stream ${id} come late`);
      seen.hasHeaders = true;
    }
    if (kind === "END") assert(this.#isMine(id), `END of the answer ${id}`);
    if (kind === "STATUS") assert(!this.#isMine(id), `STATUS of the call ${id}`);
    if (kind === "STATUS") assert(number <= 16);
    if (!end && kind !== "END" && kind !== "STATUS") return;
    assert(!seen.isMidMessage || (kind === "STATUS" && number !== 0), `stream ${id} ends within a message`);
    seen.isEnded = true;
    if (!this.#isMine(id)) this.streams.delete(id);
  }

  #settings({ body }: WireFrame): void {
    this.#hasSettings = true;
    const window = setting(body, 1) ?? this.#ownWindow;
    const connectionWindow = setting(body, 2) ?? this.#ownConnectionWindow;
    assert(window >= this.#ownWindow && connectionWindow >= this.#ownConnectionWindow, "a window shrinks");
    this.granted += connectionWindow - this.#ownConnectionWindow;
    this.#ownWindow = window;
    this.#ownConnectionWindow = connectionWindow;
  }

  #message(seen: Seen, { id, number, end, more }: WireFrame): void {
    assert(number <= 65 * 1024, `a piece of ${number} bytes`);
    assert(!(end && more));
    seen.hasMessage = true;
    seen.isMidMessage = more;
    seen.credit -= number + COST;
    this.credit -= number + COST;
    this.lowestCredit = Math.min(this.lowestCredit, this.credit);
    assert(seen.credit >= 0, `stream ${id} is overdrawn by ${-seen.credit}`);
    assert(this.credit >= 0, `the connection is overdrawn by ${-this.credit}`);
  }
}
