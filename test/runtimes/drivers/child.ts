import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";

/** A program in a process group of its own, with all that it starts. */
export interface Child {
  process: ChildProcess;
  /** Rejects when it ends by itself, with what it complained of. */
  ended: Promise<never>;
  /** Ends it and what it started. */
  kill(): void;
}

export function start(command: string, args: string[], options: SpawnOptions = {}): Child {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], detached: true, ...options });
  let complaints = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    complaints = `${complaints}${chunk}`.slice(-4000);
  });
  const ended = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("close", (status, signal) =>
      reject(new Error(`${command} ended with ${status ?? signal}: ${complaints}`)),
    );
  });
  ended.catch(() => {});
  const kill = () => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    process.kill(-child.pid, "SIGKILL");
  };
  return { process: child, ended, kill };
}

/** `task`, unless `child` ends or `ms` pass before it. Ends the child in any case. */
export async function whileRunning<T>(child: Child, ms: number, task: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it told nothing within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([task, child.ended, late]);
  } finally {
    clearTimeout(timer);
    child.kill();
  }
}
