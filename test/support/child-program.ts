import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { reapProcess } from "./process-reaper.js";

/** A program of the tests in a process of its own, which can be killed, paused and started again. */
export class ChildProgram {
  readonly name: string;
  readonly #file: string;
  readonly #settings: object;
  readonly #onMessage: (message: unknown) => void;
  #process: ChildProcess | undefined;
  #isPaused = false;
  #output = "";

  /** `file` is a bundle of bundleProgram(). It gets `settings` as JSON in its only argument. */
  constructor(
    name: string,
    file: string,
    settings: object,
    onMessage: (message: unknown) => void = () => {},
  ) {
    this.name = name;
    this.#file = file;
    this.#settings = settings;
    this.#onMessage = onMessage;
  }

  get isRunning(): boolean {
    return this.#process !== undefined && !this.#isPaused;
  }

  /** The end of what the program has written. */
  get output(): string {
    return this.#output;
  }

  /** Starts the program and waits for its message "ready". */
  async start(): Promise<void> {
    if (this.#process) return;
    const child = fork(this.#file, [JSON.stringify(this.#settings)], { silent: true });
    reapProcess(child);
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output = (this.#output + text).slice(-20_000);
      });
    }
    const ready = new Promise<void>((resolve, reject) => {
      child.on("message", (message) => (message === "ready" ? resolve() : this.#onMessage(message)));
      child.once("exit", (code, signal) => {
        if (this.#process === child) this.#process = undefined;
        reject(new Error(`${this.name} ended with ${signal ?? `status ${code}`}:\n${this.#output}`));
      });
    });
    await ready;
  }

  send(message: object): void {
    this.#process?.send(message);
  }

  /** Ends the process, and waits for that. */
  async stop(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (!child) return;
    const exited = once(child, "exit");
    child.kill(signal);
    if (this.#isPaused && signal === "SIGTERM") child.kill("SIGCONT");
    await exited;
    this.#isPaused = false;
  }

  pause(): void {
    this.#isPaused = this.#process?.kill("SIGSTOP") ?? false;
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
    this.#isPaused = false;
  }
}
