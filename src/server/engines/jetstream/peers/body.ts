import { PeerFault } from "../../../engine.js";
import type { PeerFrame } from "./frame.js";
import type { ReceiveBudget } from "./receive-budget.js";

/** How many parts of a body are sent before the first of them is confirmed. */
const WINDOW_PARTS = 4;

/** Sends a body in parts of `partBytes`. Further parts wait until the receiver has confirmed earlier ones. */
export class BodySender {
  readonly #body: Uint8Array;
  readonly #partBytes: number;
  readonly #send: (frame: PeerFrame) => void;
  #sent: number;

  constructor(body: Uint8Array, partBytes: number, send: (frame: PeerFrame) => void) {
    this.#body = body;
    this.#partBytes = partBytes;
    this.#send = send;
    const bytes = body.subarray(0, partBytes);
    this.#sent = bytes.length;
    send({ type: "first", size: body.length, bytes });
  }

  /** Whether the body needed no more than its first part. */
  get isOnePart(): boolean {
    return this.#body.length <= this.#partBytes;
  }

  /** Sends further parts. Returns whether the receiver has all of the body. */
  onReceived(offset: number): boolean {
    while (this.#sent < this.#body.length && this.#sent < offset + WINDOW_PARTS * this.#partBytes) {
      const bytes = this.#body.subarray(this.#sent, this.#sent + this.#partBytes);
      this.#send({ type: "next", offset: this.#sent, bytes });
      this.#sent += bytes.length;
    }
    return offset >= this.#body.length;
  }
}

interface BodyReceiverOptions {
  budget: ReceiveBudget;
  /** Sends the confirmation of a part. */
  confirm: (frame: PeerFrame) => void;
  onBody: (body: Uint8Array) => void;
}

/** Receives a body in parts. Only the first part comes before there is room for all of it. */
export class BodyReceiver {
  readonly #options: BodyReceiverOptions;
  readonly #giveBack: () => void;
  #body: Uint8Array | undefined;
  #received = 0;

  constructor({ size, bytes }: { size: number; bytes: Uint8Array }, options: BodyReceiverOptions) {
    this.#options = options;
    if (bytes.length >= size) {
      this.#giveBack = () => {};
      options.onBody(bytes);
      return;
    }
    this.#giveBack = options.budget.take(size, () => {
      this.#body = new Uint8Array(size);
      this.#add(this.#body, bytes);
    });
  }

  /** Adds a part. Throws PeerFault if a part before it was lost. */
  add(offset: number, bytes: Uint8Array): void {
    const body = this.#body;
    if (!body || offset !== this.#received || offset + bytes.length > body.length) {
      throw new PeerFault("lost", `bytes ${this.#received} to ${offset} of a message were lost`);
    }
    this.#add(body, bytes);
  }

  /** Gives back the room of the body. Idempotent. */
  end(): void {
    this.#giveBack();
  }

  #add(body: Uint8Array, bytes: Uint8Array): void {
    body.set(bytes, this.#received);
    this.#received += bytes.length;
    this.#options.confirm({ type: "received", offset: this.#received });
    if (this.#received === body.length) this.#options.onBody(body);
  }
}
