import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";

export interface Child extends AsyncDisposable {
  url: string;
  /** The growth of its memory from the start to the peak, in bytes. */
  peak(): Promise<number>;
}

/** A server in a separate process. */
export async function startServer(
  name: "fairlead" | "bare" | "bare-files" | "disk" | "jetstream" | "files" | "tunnel" | "yjs" | "tinybase",
  ...args: string[]
): Promise<Child> {
  const child = fork(join(import.meta.dirname, "servers", `${name}.js`), args, {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const url = await told<string>(child);
  return {
    url,
    peak() {
      child.send("peak");
      return told<number>(child);
    },
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => child.once("close", resolve));
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs a program in a separate process until it prints its result, and returns that. */
export async function ask<T>(name: string, ...args: string[]): Promise<T> {
  const child = fork(join(import.meta.dirname, `${name}.js`), args, {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  return told<T>(child);
}

function told<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    child.once("message", (message) => resolve(message as T));
    child.once("exit", (status) => reject(new Error(`${child.spawnfile} ended with ${status}`)));
  });
}
