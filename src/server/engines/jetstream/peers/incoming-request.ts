import { runAfter } from "../../../../lib/timer.js";
import type { PeerHandler } from "../../../engine.js";
import { BodyReceiver, BodySender } from "./body.js";
import { type PeerExchange, type PeerLink, WORKING_MS } from "./exchange.js";
import type { PeerFrame } from "./frame.js";

/** A request that takes longer says so at this time first, so that it can be canceled. */
const FIRST_WORKING_MS = 50;

interface IncomingRequestOptions {
  link: PeerLink;
  handler: PeerHandler;
  /** The requester's subject. */
  replyTo: string;
  first: PeerFrame & { type: "first" };
}

/** Receives a request, and answers it. */
export class IncomingRequest implements PeerExchange {
  readonly #options: IncomingRequestOptions;
  readonly #subject: string;
  readonly #close: () => void;
  readonly #receiver: BodyReceiver;
  readonly #ended = new AbortController();
  #sender: BodySender | undefined;
  #stopTimer = () => {};

  constructor(options: IncomingRequestOptions) {
    this.#options = options;
    const { link, first } = options;
    const { subject, close } = link.open(this);
    this.#subject = subject;
    this.#close = close;
    this.#sayWorking(FIRST_WORKING_MS);
    this.#receiver = new BodyReceiver(first, {
      budget: link.budget,
      confirm: (frame) => this.#send(frame),
      onBody: (body) => void this.#handle(body),
    });
  }

  onFrame(frame: PeerFrame): void {
    switch (frame.type) {
      case "next":
        try {
          this.#receiver.add(frame.offset, frame.bytes);
        } catch (error) {
          this.#fail(error);
        }
        break;
      case "received":
        if (this.#sender?.onReceived(frame.offset)) this.#end();
        break;
      case "cancel":
        this.#end();
        break;
    }
  }

  /** The requester is gone. */
  onUnserved(): void {
    this.#end();
  }

  onClose(): void {
    this.#send({ type: "cancel" });
    this.#end();
  }

  async #handle(body: Uint8Array): Promise<void> {
    try {
      const answer = await this.#options.handler(body, this.#ended.signal);
      if (this.#ended.signal.aborted) return;
      this.#sender = new BodySender(answer, this.#options.link.partBytes, (frame) => this.#send(frame));
      if (this.#sender.isOnePart) this.#end();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#ended.signal.aborted) return;
    this.#send({ type: "failed", message: error instanceof Error ? error.message : String(error) });
    this.#end();
  }

  #sayWorking(afterMs: number): void {
    this.#stopTimer = runAfter(afterMs, () => {
      this.#send({ type: "working" });
      this.#sayWorking(WORKING_MS);
    });
  }

  #send(frame: PeerFrame): void {
    this.#options.link.send(this.#options.replyTo, frame, this.#subject);
  }

  #end(): void {
    this.#close();
    this.#stopTimer();
    this.#ended.abort();
    this.#receiver?.end();
  }
}
