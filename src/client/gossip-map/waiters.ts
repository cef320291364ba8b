import { Code, ConnectError } from "@connectrpc/connect";
import { onAbort } from "../../lib/on-abort.js";
import { canceled } from "../../rpc/canceled.js";
import { sleep } from "../../rpc/sleep.js";

export interface WaitOptions {
  /** Gives up. */
  signal?: AbortSignal | undefined;
  /** How long to wait, in milliseconds. Default, and for 0: for ever. */
  timeoutMs?: number | undefined;
}

export interface Wait extends WaitOptions {
  /** What is waited for, as an error says it: "Cannot open …". */
  what: string;
  /** Whether to go on waiting through failures that may pass. */
  patient: boolean;
}

type Waiter = { met: () => boolean; patient: boolean; resolve: () => void; reject: (error: unknown) => void };

/** Those who wait for something to come about. */
export class Waiters {
  readonly #all = new Set<Waiter>();

  get anyPatient(): boolean {
    return [...this.#all].some(({ patient }) => patient);
  }

  /** Resolves at the first check() at which `met` is true. */
  async until(met: () => boolean, { what, patient, signal, timeoutMs = 0 }: Wait): Promise<void> {
    if (signal?.aborted) throw canceled(signal);
    const done = new AbortController();
    let waiter: Waiter | undefined;
    let stopListening = () => {};
    try {
      await new Promise<void>((resolve, reject) => {
        this.#all.add((waiter = { met, patient, resolve, reject }));
        stopListening = onAbort(signal, () => reject(signal && canceled(signal)));
        if (timeoutMs <= 0) return;
        const late = new ConnectError(`${what}: not done after ${timeoutMs} ms`, Code.DeadlineExceeded);
        sleep(timeoutMs, done.signal).then(
          () => reject(late),
          () => {},
        );
      });
    } finally {
      if (waiter) this.#all.delete(waiter);
      stopListening();
      done.abort();
    }
  }

  /** Lets those go whose condition is met. */
  check(): void {
    for (const { met, resolve } of this.#all) if (met()) resolve();
  }

  /** Fails those that wait: all, or the impatient ones. */
  reject(error: unknown, { evenPatient = true } = {}): void {
    for (const { patient, reject } of this.#all) if (evenPatient || !patient) reject(error);
  }
}
