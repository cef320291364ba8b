import { onAbort } from "../../../../lib/on-abort.js";
import { runAfter } from "../../../../lib/timer.js";
import { PeerFault } from "../../../engine.js";
import { BodyReceiver, BodySender } from "./body.js";
import { LOST_MS, type PeerExchange, type PeerLink } from "./exchange.js";
import type { PeerFrame } from "./frame.js";

interface OutgoingRequestOptions {
  link: PeerLink;
  /** The subject of the servers that serve the name. */
  subject: string;
  /** The name, for messages of errors. */
  label: string;
  body: Uint8Array;
  signal: AbortSignal;
}

/** Sends a request to one of the servers that serve it, and receives the answer. */
export function sendPeerRequest(options: OutgoingRequestOptions): Promise<Uint8Array> {
  return new Promise((resolve, reject) => new OutgoingRequest(options, resolve, reject));
}

class OutgoingRequest implements PeerExchange {
  readonly #options: OutgoingRequestOptions;
  readonly #resolve: (answer: Uint8Array) => void;
  readonly #reject: (error: unknown) => void;
  readonly #close: () => void;
  readonly #sender: BodySender;
  /** The other side's subject, once it has answered. */
  #other: string | undefined;
  #receiver: BodyReceiver | undefined;
  #isHeard = false;
  #stopTimer = () => {};
  #stopListening = () => {};

  constructor(
    options: OutgoingRequestOptions,
    resolve: (answer: Uint8Array) => void,
    reject: (error: unknown) => void,
  ) {
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    const { link, subject, body, signal } = options;
    const opened = link.open(this);
    this.#close = opened.close;
    this.#sender = new BodySender(body, link.partBytes, (frame) => {
      if (frame.type === "first") link.send(subject, frame, opened.subject);
      else this.#answer(frame);
    });
    this.#watch();
    this.#stopListening = onAbort(signal, () => this.#cancel(signal.reason));
  }

  onFrame(frame: PeerFrame, replyTo: string | undefined): void {
    this.#other = replyTo ?? this.#other;
    this.#isHeard = true;
    try {
      this.#receive(frame);
    } catch (error) {
      this.#cancel(error);
    }
  }

  onUnserved(): void {
    this.#fail(new PeerFault("unserved", `no server serves ${this.#options.label}`));
  }

  onClose(error: Error): void {
    this.#cancel(error);
  }

  #receive(frame: PeerFrame): void {
    switch (frame.type) {
      case "received":
        this.#sender.onReceived(frame.offset);
        break;
      case "first":
        this.#receiver = new BodyReceiver(frame, {
          budget: this.#options.link.budget,
          confirm: (confirmation) => this.#answer(confirmation),
          onBody: (answer) => this.#finish(() => this.#resolve(answer)),
        });
        break;
      case "next":
        this.#receiver?.add(frame.offset, frame.bytes);
        break;
      case "failed":
        this.#fail(new PeerFault("failed", frame.message));
        break;
      case "cancel":
        this.#fail(new PeerFault("lost", `the server that answered ${this.#options.label} has closed`));
        break;
    }
  }

  /** Fails the request if the other side is silent. */
  #watch(): void {
    this.#isHeard = false;
    this.#stopTimer = runAfter(LOST_MS, () => {
      if (this.#isHeard) this.#watch();
      else this.#cancel(new PeerFault("lost", `no answer from a server for ${this.#options.label}`));
    });
  }

  #answer(frame: PeerFrame): void {
    if (this.#other !== undefined) this.#options.link.send(this.#other, frame);
  }

  /** If the other side is not known yet, it is told when its next frame arrives: see JetStreamPeers. */
  #cancel(error: unknown): void {
    this.#answer({ type: "cancel" });
    this.#fail(error);
  }

  #fail(error: unknown): void {
    this.#finish(() => this.#reject(error));
  }

  #finish(settle: () => void): void {
    this.#close();
    this.#stopTimer();
    this.#stopListening();
    this.#receiver?.end();
    settle();
  }
}
