import { Code, ConnectError } from "@connectrpc/connect";
import type { Environment } from "../../gossip/environment.js";
import { onAbort } from "../../lib/on-abort.js";
import { canceled } from "../../rpc/canceled.js";

export interface WaitOptions {
  /** Aborts the wait. */
  signal?: AbortSignal | undefined;
  /** How long to wait, in milliseconds; 0: no limit. Default: 0. */
  timeoutMs?: number | undefined;
}

export interface Wait extends WaitOptions {
  /** The beginning of an error message: "Cannot open …". */
  operation: string;
  /** Whether to wait through errors that may pass. */
  isPatient: boolean;
  /** Whether the condition should be made true without delay. */
  isPrompt: boolean;
}

type Waiter = {
  isMet: () => boolean;
  isPatient: boolean;
  isPrompt: boolean;
  resolve: () => void;
  reject: (error: unknown) => void;
};

/** Promises that wait for conditions. */
export class Waiters {
  readonly #all = new Set<Waiter>();
  readonly #environment: Environment;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  get hasPrompt(): boolean {
    return [...this.#all].some(({ isPrompt }) => isPrompt);
  }

  /** Resolves at the first check() at which `isMet` returns true. */
  async until(
    isMet: () => boolean,
    { operation, isPatient, isPrompt, signal, timeoutMs = 0 }: Wait,
  ): Promise<void> {
    if (signal?.aborted) throw canceled(signal);
    let waiter: Waiter | undefined;
    let stopListening = () => {};
    let stopTimer = () => {};
    try {
      await new Promise<void>((resolve, reject) => {
        this.#all.add((waiter = { isMet, isPatient, isPrompt, resolve, reject }));
        stopListening = onAbort(signal, () => reject(signal && canceled(signal)));
        if (timeoutMs <= 0) return;
        const timeout = new ConnectError(
          `${operation}: not done after ${timeoutMs} ms`,
          Code.DeadlineExceeded,
        );
        stopTimer = this.#environment.after(timeoutMs, () => reject(timeout));
      });
    } finally {
      if (waiter) this.#all.delete(waiter);
      stopListening();
      stopTimer();
    }
  }

  /** Resolves the waiters whose condition is met. */
  check(): void {
    for (const { isMet, resolve } of this.#all) if (isMet()) resolve();
  }

  /** Rejects all waiters, or only those that are not patient. */
  reject(error: unknown, { evenPatient = true } = {}): void {
    for (const { isPatient, reject } of this.#all) if (evenPatient || !isPatient) reject(error);
  }
}
