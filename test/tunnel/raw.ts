import type { Pair } from "../../src/tunnel/socket/pair.js";
import type { Socket } from "../../src/tunnel/socket/socket.js";
import { bytesOf, type Frame, unhex } from "./frames.js";
import { parse, type WireFrame } from "./wire.js";

/** The other end of a session, played by the test: it sends any frames, valid or not. */
export class RawPeer {
  /** All received frames. */
  readonly got: WireFrame[] = [];
  /** The close of the socket, as "code reason"; undefined while it is open. */
  closed = "";
  readonly #socket: Socket;
  #onFrame: () => void = () => {};

  constructor(net: Pair, at: 0 | 1) {
    this.#socket = net.ends[at]({
      onMessage: (bytes) => {
        this.got.push(...parse(bytes));
        this.#onFrame();
      },
      onDrained() {},
      onClosed: (code, reason) => {
        this.closed = `${code} ${reason}`;
        this.#onFrame();
      },
    });
  }

  send(...frames: (Frame | string)[]): void {
    for (const frame of frames) this.#post(typeof frame === "string" ? unhex(frame) : bytesOf(frame));
  }

  sendTogether(...frames: Frame[]): void {
    this.#post(bytesOf(...frames));
  }

  #post(bytes: Uint8Array<ArrayBuffer>): void {
    this.#socket.send(bytes, () => {});
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  /** The received frames of a kind. */
  of(kind: string, id?: number): WireFrame[] {
    return this.got.filter((frame) => frame.kind === kind && (id === undefined || frame.id === id));
  }

  /** Waits until `isThere` holds. */
  until(isThere: (peer: this) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!isThere(this)) return;
        this.#onFrame = () => {};
        resolve();
      };
      this.#onFrame = look;
      look();
    });
  }
}
