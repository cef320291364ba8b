import type { CallStatus, HeaderList, Settings } from "../wire/frame.js";
import * as frame from "../wire/write-frame.js";
import type { Sender } from "./sender.js";

/** Sends the frames that need no credit: all but MESSAGE. A closed sender drops them with the session. */
export class ControlFrames {
  readonly #sender: Sender;

  constructor(sender: Sender) {
    this.#sender = sender;
  }

  settings(settings: Settings): void {
    frame.writeSettings(this.#sender.out, settings);
    this.#sender.schedule();
  }

  call(id: number, method: number | string, timeoutMs: number | undefined, header: HeaderList): void {
    frame.writeCall(this.#sender.out, id, method, timeoutMs, header);
    this.#sender.schedule();
  }

  headers(id: number, header: HeaderList): void {
    frame.writeHeaders(this.#sender.out, id, header);
    this.#sender.schedule();
  }

  status(id: number, status: CallStatus): void {
    frame.writeStatus(this.#sender.out, id, status);
    this.#sender.schedule();
  }

  end(id: number): void {
    frame.writeEnd(this.#sender.out, id);
    this.#sender.schedule();
  }

  reset(id: number, code: number): void {
    frame.writeReset(this.#sender.out, id, code);
    this.#sender.schedule();
  }

  credit(id: number, bytes: number): void {
    frame.writeCredit(this.#sender.out, id, bytes);
    this.#sender.schedule();
  }

  ping(number: number): void {
    frame.writePing(this.#sender.out, number);
    this.#sender.schedule();
  }

  pong(number: number): void {
    frame.writePong(this.#sender.out, number);
    this.#sender.schedule();
  }

  goaway(lastId: number, reason: string): void {
    frame.writeGoaway(this.#sender.out, lastId, reason);
    this.#sender.schedule();
  }
}
