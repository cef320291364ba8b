import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";

/** A program in a process group of its own, with its child processes. */
export interface Child {
  process: ChildProcess;
  /** Rejects when the program ends by itself, with its output on stderr. */
  ended: Promise<never>;
  /** Kills it and its child processes. */
  kill(): void;
}

export function start(command: string, args: string[], options: SpawnOptions = {}): Child {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], detached: true, ...options });
  let errors = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    errors = `${errors}${chunk}`.slice(-4000);
  });
  const ended = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("close", (status, signal) =>
      reject(new Error(`${command} ended with ${status ?? signal}: ${errors}`)),
    );
  });
  ended.catch(() => {});
  const kill = () => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    process.kill(-child.pid, "SIGKILL");
  };
  return { process: child, ended, kill };
}

/** Waits for `task`. Rejects if `child` ends or `ms` pass first. Kills the child afterwards. */
export async function whileRunning<T>(child: Child, ms: number, task: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it sent no results within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([task, child.ended, timeout]);
  } finally {
    clearTimeout(timer);
    child.kill();
  }
}
