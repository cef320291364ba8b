import type { Socket } from "node:net";

/** How a link is worse than a good one. */
export interface Impairment {
  /** The delay of every byte in each direction, in milliseconds. Default: 0. */
  latencyMs?: number;
  /** The most bytes per second in each direction of a connection; 0 forwards nothing. Default: unlimited. */
  bytesPerSecond?: number;
}

/** What the proxy holds of one direction before it stops reading, as the windows of TCP do. */
const MOST_HELD_BYTES = 1 << 20;

/** One direction of a proxied connection: what comes from one socket goes to the other, in order, perhaps late. */
export class ProxiedStream {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #held: { chunk: Buffer; dueMs: number }[] = [];
  #heldBytes = 0;
  #impairment: Impairment = {};
  #isStalled = false;
  #hasEnded = false;
  /** When the last byte has passed, at the given bandwidth. */
  #busyUntilMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
    from.on("data", (chunk: Buffer) => this.#hold(chunk));
    to.on("drain", () => this.#forward());
    from.on("close", () => {
      this.#hasEnded = true;
      this.#forward();
    });
  }

  /** Undefined: a good link again. What was held back is then forwarded at once. */
  impair(impairment: Impairment = {}): void {
    this.#impairment = impairment;
    this.#busyUntilMs = 0;
    for (const held of this.#held) held.dueMs = this.#dueMs(held.chunk);
    this.#forward();
  }

  /** Forwards nothing more, and closes nothing. */
  stall(): void {
    this.#isStalled = true;
    this.#from.pause();
  }

  /** Closes the target, without what is held back. */
  close(): void {
    clearTimeout(this.#timer);
    this.#held.length = 0;
    this.#from.destroy();
    this.#to.destroy();
  }

  #hold(chunk: Buffer): void {
    this.#held.push({ chunk, dueMs: this.#dueMs(chunk) });
    this.#heldBytes += chunk.length;
    this.#forward();
    if (this.#heldBytes > MOST_HELD_BYTES) this.#from.pause();
  }

  #dueMs({ length }: Buffer): number {
    const { latencyMs = 0, bytesPerSecond } = this.#impairment;
    if (bytesPerSecond === undefined) return latencyMs === 0 ? 0 : Date.now() + latencyMs;
    this.#busyUntilMs = Math.max(this.#busyUntilMs, Date.now()) + (length / bytesPerSecond) * 1000;
    return this.#busyUntilMs + latencyMs;
  }

  #forward(): void {
    clearTimeout(this.#timer);
    if (this.#isStalled || this.#impairment.bytesPerSecond === 0) return;
    for (let [next] = this.#held; next; [next] = this.#held) {
      const waitMs = next.dueMs - Date.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#forward(), waitMs);
        return;
      }
      if (this.#to.writableNeedDrain) return;
      this.#held.shift();
      this.#heldBytes -= next.chunk.length;
      this.#to.write(next.chunk);
    }
    if (this.#hasEnded) this.#to.destroySoon();
    else this.#from.resume();
  }
}
