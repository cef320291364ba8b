import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { reapMount, reapProcess } from "../process-reaper.js";
import { natsServer } from "./program.js";

/** How one node is started. Ports are of 127.0.0.1. */
export interface NodeSettings {
  name: string;
  folder: string;
  port: number;
  monitorPort: number;
  /** Undefined: a server of its own. Routes are the ports at which this node reaches the others. */
  cluster: { port: number; routes: number[] } | undefined;
  /** How often files are synced: nats-server's `sync_interval`. */
  syncInterval: string;
  /** nats-server's `max_payload`. */
  maxPayload: string;
  /** The size of the node's own file system for its data; undefined: a folder of the system's. */
  diskBytes: number | undefined;
}

/** The file that fills a disk. */
const BALLAST = "ballast";

/** One nats-server process, which keeps its data when it is killed. */
export class NatsNode {
  readonly name: string;
  readonly url: string;
  readonly port: number;
  readonly #settings: NodeSettings;
  #process: ChildProcess | undefined;
  #isPaused = false;
  #isMounted = false;

  constructor(settings: NodeSettings) {
    this.#settings = settings;
    this.name = settings.name;
    this.port = settings.port;
    this.url = `nats://127.0.0.1:${settings.port}`;
  }

  /** Whether the process runs and is not paused. */
  get isRunning(): boolean {
    return this.#process !== undefined && !this.#isPaused;
  }

  async start(): Promise<void> {
    if (this.#process) return;
    const { folder } = this.#settings;
    await mkdir(this.#dataFolder, { recursive: true });
    this.#mount();
    const file = join(folder, "nats.conf");
    await writeFile(file, this.#config());
    const child = spawn(natsServer ?? "nats-server", ["-c", file, "-l", this.#logFile], { stdio: "ignore" });
    reapProcess(child);
    child.once("exit", () => {
      if (this.#process === child) this.#process = undefined;
    });
    await once(child, "spawn");
    this.#process = child;
    this.#isPaused = false;
  }

  /** Ends the process: SIGTERM lets it hand over its leaderships first. */
  async stop(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (!child) return;
    const exited = once(child, "exit");
    child.kill(signal);
    if (this.#isPaused && signal === "SIGTERM") child.kill("SIGCONT");
    await exited;
    this.#isPaused = false;
  }

  /** Stops the process in place (SIGSTOP): its connections stay open, and it answers nothing. */
  pause(): void {
    this.#isPaused = this.#process?.kill("SIGSTOP") ?? false;
  }

  /** Continues a paused process. */
  resume(): void {
    this.#process?.kill("SIGCONT");
    this.#isPaused = false;
  }

  /** Fills the node's disk, so that its next write fails. It must have `diskBytes`. */
  async fillDisk(): Promise<void> {
    if (!this.#isMounted)
      throw new Error(`Cannot fill the disk of ${this.name}: it was started without diskBytes`);
    const chunk = Buffer.alloc(4 << 20);
    const ballast = await open(join(this.#dataFolder, BALLAST), "w");
    try {
      // A chunk that does not fit is written in part.
      for (;;) await ballast.write(chunk);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    } finally {
      await ballast.close();
    }
  }

  /** Frees what fillDisk() has filled. */
  async freeDisk(): Promise<void> {
    await rm(join(this.#dataFolder, BALLAST), { force: true });
  }

  /** The answer of the monitoring port as JSON; undefined if the node does not answer, or not with status 200. */
  async monitor<T>(path: string): Promise<T | undefined> {
    if (!this.isRunning) return undefined;
    const url = `http://127.0.0.1:${this.#settings.monitorPort}${path}`;
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(1000) });
      return response.ok ? ((await response.json()) as T) : undefined;
    } catch {
      return undefined;
    }
  }

  /** The end of the node's log. */
  async log(lines = 40): Promise<string> {
    const text = await readFile(this.#logFile, "utf8").catch(() => "");
    return text.split("\n").slice(-lines).join("\n");
  }

  /** Ends the process and frees its file system. */
  async dispose(): Promise<void> {
    await this.stop();
    if (this.#isMounted) spawnSync("umount", ["-l", this.#dataFolder]);
    this.#isMounted = false;
  }

  get #dataFolder(): string {
    return join(this.#settings.folder, "data");
  }

  get #logFile(): string {
    return join(this.#settings.folder, "nats.log");
  }

  #mount(): void {
    const { diskBytes } = this.#settings;
    if (diskBytes === undefined || this.#isMounted) return;
    const options = ["-t", "tmpfs", "-o", `size=${diskBytes}`, "tmpfs", this.#dataFolder];
    const { status, stderr } = spawnSync("mount", options, { encoding: "utf8" });
    if (status !== 0) throw new Error(`Cannot give ${this.name} a disk of its own: ${stderr}`);
    reapMount(this.#dataFolder);
    this.#isMounted = true;
  }

  #config(): string {
    const { name, port, monitorPort, cluster, syncInterval, maxPayload } = this.#settings;
    const routes = cluster?.routes.map((route) => `nats-route://127.0.0.1:${route}`).join(", ");
    // Nodes tell each other their own addresses. Port 1 refuses, so that only the given routes are used. They tell
    // clients nothing, so that these use only the given URLs.
    const clusterBlock = `cluster {
  name: test
  listen: "127.0.0.1:${cluster?.port}"
  advertise: "127.0.0.1:1"
  no_advertise: true
  routes: [${routes}]
}`;
    return `server_name: ${name}
listen: "127.0.0.1:${port}"
http: "127.0.0.1:${monitorPort}"
max_payload: ${maxPayload}
jetstream {
  store_dir: "${join(this.#dataFolder, "js")}"
  sync_interval: ${syncInterval}
  max_memory_store: 64MB
  max_file_store: 4GB
}
${cluster ? clusterBlock : ""}
`;
  }
}

/** Whether this process may mount file systems, as `diskBytes` needs. */
export const canMount = (): boolean =>
  process.getuid?.() === 0 && spawnSync("mount", ["--version"]).status === 0;
