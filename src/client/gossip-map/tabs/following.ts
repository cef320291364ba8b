import { Code, ConnectError } from "@connectrpc/connect";
import type { Environment } from "../../../gossip/environment.js";
import { onAbort } from "../../../lib/on-abort.js";
import { canceled } from "../../../rpc/canceled.js";
import type { TabChannel, TabMessage } from "./tab-channel.js";
import { TabStream } from "./tab-stream.js";

/** How often the leading tab is asked whether it is there. */
const ASK_MS = 1500;

/** How long it may be silent: a tab is frozen, or was stopped by a debugger. Each tab adds up to a fifth. */
const SILENT_MS = 5000;

export interface FollowingOptions {
  environment: Environment;
  channel: TabChannel;
  /** Called if no tab answers. */
  onSilent: () => void;
}

type Confirmation = { resolve: (isConfirmed: boolean) => void; reject: (error: Error) => void };

/** The state of a tab that follows the leading one. */
export class Following {
  readonly #options: FollowingOptions;
  readonly #silentMs: number;
  /** The member id of the leading tab. */
  #leader: string | undefined;
  #heardMs: number;
  #stream: { number: number; of: TabStream } | undefined;
  #numbers = 0;
  readonly #confirmations = new Map<number, Confirmation>();
  /** Called when a leading tab is known. */
  readonly #waiting = new Set<() => void>();
  #stopTimer: () => void = () => {};
  #isClosed = false;

  constructor(options: FollowingOptions) {
    this.#options = options;
    const { environment } = options;
    this.#silentMs = SILENT_MS * (1 + environment.random() / 5);
    this.#heardMs = environment.monotonicMs();
    this.#ask();
  }

  /** To be called when the tab of `member` says that it leads. Returns whether that is another one than before. */
  heard(member: string): boolean {
    this.#heardMs = this.#options.environment.monotonicMs();
    if (member === this.#leader) return false;
    this.#leader = member;
    this.#endStream();
    for (const resume of this.#waiting) resume();
    return true;
  }

  receive(message: TabMessage): void {
    if (message.from !== this.#leader) return;
    this.#heardMs = this.#options.environment.monotonicMs();
    if (message.type === "confirmed") {
      const confirmation = this.#confirmations.get(message.id);
      this.#confirmations.delete(message.id);
      const { error } = message;
      if (error) confirmation?.reject(new ConnectError(error.text, error.code));
      else confirmation?.resolve(true);
    } else if ("stream" in message && message.stream === this.#stream?.number) {
      const { of } = this.#stream;
      if (message.type === "data") of.onData(message.bytes);
      else if (message.type === "ack") of.onAck();
      else if (message.type === "end") of.onEnd();
    }
  }

  /** A stream to the leading tab, as soon as one is known. */
  async open(signal: AbortSignal): Promise<TabStream> {
    while (this.#leader === undefined) {
      if (this.#isClosed) throw new ConnectError("another tab leads now", Code.Unavailable);
      let stopListening = () => {};
      let resume = () => {};
      await new Promise<void>((resolve) => {
        resume = resolve;
        this.#waiting.add(resolve);
        stopListening = onAbort(signal, resolve);
      });
      this.#waiting.delete(resume);
      stopListening();
      if (signal.aborted) throw canceled(signal);
    }
    const { channel } = this.#options;
    const leader = this.#leader;
    const number = ++this.#numbers;
    const stream = new TabStream({
      send: (bytes) => channel.tell(leader, { type: "data", stream: number, bytes }),
      acknowledge: () => channel.tell(leader, { type: "ack", stream: number }),
      end: () => channel.tell(leader, { type: "end", stream: number }),
    });
    this.#stream = { number, of: stream };
    channel.tell(leader, { type: "open", stream: number });
    return stream;
  }

  /** See Tabs.confirm(). */
  confirm(isPrompt: boolean): Promise<boolean> {
    const leader = this.#leader;
    if (leader === undefined) return Promise.resolve(false);
    const id = ++this.#numbers;
    return new Promise((resolve, reject) => {
      this.#confirmations.set(id, { resolve, reject });
      this.#options.channel.tell(leader, { type: "confirm", id, isPrompt });
    });
  }

  close(): void {
    this.#stopTimer();
    this.#isClosed = true;
    this.#endStream();
    for (const resume of this.#waiting) resume();
  }

  #endStream(): void {
    this.#stream?.of.close(new ConnectError("another tab leads now", Code.Unavailable));
    this.#stream = undefined;
    for (const { resolve } of this.#confirmations.values()) resolve(false);
    this.#confirmations.clear();
  }

  #ask(): void {
    const { environment, channel, onSilent } = this.#options;
    const question = { type: "who leads" } as const;
    if (this.#leader === undefined) channel.tellAll(question);
    else channel.tell(this.#leader, question);
    const askedMs = environment.monotonicMs();
    this.#stopTimer = environment.after(ASK_MS, () => {
      const nowMs = environment.monotonicMs();
      // A late timer means that this tab was frozen, and has not read the answers yet.
      if (nowMs - askedMs > 2 * ASK_MS) this.#heardMs = nowMs;
      if (nowMs - this.#heardMs > this.#silentMs) {
        this.#heardMs = nowMs;
        onSilent();
      }
      if (!this.#isClosed) this.#ask();
    });
  }
}
