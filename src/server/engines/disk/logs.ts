import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { runAfter } from "../../../lib/timer.js";
import type { LogRecord, LogStore, Retention } from "../../engine.js";
import { closedError, fullError } from "../shared/errors.js";
import { toEngineFault } from "./errors.js";
import type { Files } from "./files.js";
import { DiskLog, type LogSettings } from "./log.js";
import { LogCheckpoint } from "./log-checkpoint.js";
import { frameBytes, SEGMENT_HEADER_BYTES } from "./log-frame.js";
import { LogWriter } from "./log-writer.js";
import type { Tree } from "./tree.js";

export interface LogOptions {
  files: Files;
  folder: string;
  segmentBytes: number;
  /** The bytes that all logs may take on the disk. */
  maxLogBytes: number;
}

/** Where the tree keeps what it knows of each log. */
const LOGS = "l";

/** The most records that one step of a read hands over. */
const BATCH_RECORDS = 512;

/** How many logs' files are open at a time. */
const OPEN_FILES = 256;

/** How often logs that nobody uses give back what has become too old. */
const SWEEP_MS = 60_000;

/** The logs of the disk engine: a folder of segments each, opened when it is first used. */
export class DiskLogs implements LogStore {
  readonly #tree: Tree;
  readonly #options: LogOptions;
  /** Those that are open, the one that has been used last at the end. */
  readonly #logs = new Map<string, Promise<DiskLog | undefined>>();
  /** Those who wait for a log that is not there yet. */
  readonly #expecting = new Map<string, Set<() => void>>();
  /** Those of them that have been opened. */
  readonly #opened = new Set<DiskLog>();
  /** While anything is pinned, no log removes a file. */
  readonly #keep = { pins: 0 };
  /** The bytes of all logs on the disk, and of what is being appended. */
  #bytes: number;
  #appending = 0;
  readonly #ends = new LogCheckpoint((grown) => this.#saveEnds(grown));
  #stopSweep: () => void;
  #closed = false;

  private constructor(tree: Tree, options: LogOptions, bytes: number) {
    this.#tree = tree;
    this.#options = options;
    this.#bytes = bytes;
    this.#stopSweep = runAfter(SWEEP_MS, () => void this.#sweep());
  }

  static async open(tree: Tree, options: LogOptions): Promise<DiskLogs> {
    return new DiskLogs(tree, options, await bytesIn(options.folder));
  }

  async append(name: string, values: readonly Uint8Array[]): Promise<{ first: bigint; last: bigint }> {
    return faulty(async () => {
      const log = await this.#create(name);
      const bytes = frameBytes(values);
      await this.#admit(log, bytes);
      const { first, last } = await log.append(values).finally(() => {
        this.#appending -= bytes;
      });
      this.#ends.tellSoon(name, log);
      void this.#park();
      return { first: BigInt(first), last: BigInt(last) };
    });
  }

  async *read(
    name: string,
    from: bigint,
    { follow, signal }: { follow: boolean; signal: AbortSignal },
  ): AsyncGenerator<LogRecord[], void, undefined> {
    this.#open();
    let log = await this.#find(name);
    // A follower of a log that is not there yet waits for it; any other reader of it is at its end.
    while (!log && follow && !signal.aborted && !this.#closed) {
      await this.#expected(name, signal);
      if (!this.#closed) log = await this.#find(name);
    }
    if (!log || signal.aborted) return;
    if (this.#closed) {
      if (follow) return;
      throw closedError("disk");
    }
    const least = from > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(from);
    yield* log.read(least, { follow, signal, most: BATCH_RECORDS });
    if (this.#closed && !follow) throw closedError("disk");
  }

  async bounds(name: string): Promise<{ first: bigint; next: bigint }> {
    this.#open();
    const log = await this.#find(name);
    if (!log) return { first: 1n, next: 1n };
    const first = await log.first();
    return { first: BigInt(first), next: BigInt(log.next) };
  }

  async seek(name: string, timestampMs: number): Promise<bigint> {
    this.#open();
    const log = await this.#find(name);
    return log ? BigInt(await log.seek(timestampMs)) : 1n;
  }

  async retain(name: string, retention: Retention): Promise<void> {
    return faulty(async () => {
      const log = await this.#create(name);
      // What the retention before has dropped does not come back.
      await log.first();
      log.settings.retention = { ...retention };
      await this.#save(name, log.settings);
      await log.trim();
    });
  }

  /** Opens every log, so that extents() knows them. */
  async openAll(): Promise<void> {
    for await (const { name } of listLogs(this.#tree)) await this.#find(name);
  }

  /** The files of every open log and how much of each is durable, by the log's id: at this moment. */
  extents(): Map<string, { name: string; end: number }[]> {
    return new Map([...this.#opened].map((log) => [log.settings.id, log.extent]));
  }

  /** Removes no file until the returned function is called. */
  pin(): () => void {
    this.#keep.pins++;
    return () => {
      this.#keep.pins--;
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopSweep();
    this.#ends.close();
    for (const waiting of [...this.#expecting.values()]) for (const done of [...waiting]) done();
    await Promise.all([...this.#logs].map(([name, log]) => this.#end(name, log)));
  }

  #open(): void {
    if (this.#closed) throw closedError("disk");
  }

  /** Reserves room for `bytes`. Fails where `bytes` more would pass the bound, also once the log's own retention has made room. */
  async #admit(log: DiskLog, bytes: number): Promise<void> {
    const { maxLogBytes } = this.#options;
    const isFull = () => this.#bytes + this.#appending + bytes > maxLogBytes;
    if (isFull()) await log.trim();
    if (isFull()) throw fullError("maxLogBytes", maxLogBytes, "all logs of the disk engine together");
    this.#appending += bytes;
  }

  async #saveEnds(grown: readonly (readonly [name: string, log: DiskLog])[]): Promise<void> {
    const ops = grown.map(([name, { settings, next }]) => {
      settings.next = next;
      return { key: LOGS + name, value: encode(settings) };
    });
    await this.#tree.write(ops);
  }

  async #end(name: string, opening: Promise<DiskLog | undefined>): Promise<void> {
    const log = await opening.catch(() => undefined);
    await log?.close();
    if (!log || log.settings.next === log.next) return;
    // From here on its end tells what is missing from what was never there. Where the disk refuses, it does not.
    await this.#save(name, { ...log.settings, next: log.next }).catch(() => {});
  }

  async #find(name: string): Promise<DiskLog | undefined> {
    const open = this.#logs.get(name);
    if (open) {
      this.#logs.delete(name);
      this.#logs.set(name, open);
      return open;
    }
    const known = this.#tree.get(LOGS + name);
    return known && this.#remember(name, this.#openLog(decode(known)));
  }

  async #create(name: string): Promise<DiskLog> {
    this.#open();
    const found = await this.#find(name);
    if (found) return found;
    this.#open();
    const made = this.#logs.get(name) ?? this.#remember(name, this.#make(name));
    return (await made) as DiskLog;
  }

  #remember(name: string, opening: Promise<DiskLog>): Promise<DiskLog> {
    this.#logs.set(name, opening);
    opening.then(
      (log) => this.#opened.add(log),
      () => this.#logs.delete(name),
    );
    return opening;
  }

  async #make(name: string): Promise<DiskLog> {
    const settings: LogSettings = { id: String(this.#tree.nextVersion()), first: 1, retention: undefined };
    await LogWriter.create(this.#options.files, join(this.#options.folder, settings.id));
    this.#bytes += SEGMENT_HEADER_BYTES;
    await this.#save(name, settings);
    const log = await this.#openLog(settings);
    for (const done of [...(this.#expecting.get(name) ?? [])]) done();
    return log;
  }

  #openLog(settings: LogSettings): Promise<DiskLog> {
    const { files, folder, segmentBytes } = this.#options;
    const { clock } = this.#tree;
    const onBytes = (change: number) => {
      this.#bytes += change;
    };
    const options = { clock, segmentBytes, onBytes, keep: this.#keep };
    return DiskLog.open(files, join(folder, settings.id), settings, options);
  }

  async #save(name: string, settings: LogSettings): Promise<void> {
    await this.#tree.write([{ key: LOGS + name, value: encode(settings) }]);
  }

  /** Resolves when the log has been made, at the end, or once `signal` aborts. */
  #expected(name: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#expecting.get(name) ?? new Set();
      const done = () => {
        waiting.delete(done);
        if (waiting.size === 0) this.#expecting.delete(name);
        signal.removeEventListener("abort", done);
        resolve();
      };
      // It may have been made since the look that did not find it.
      if (this.#logs.has(name)) return resolve();
      this.#expecting.set(name, waiting.add(done));
      signal.addEventListener("abort", done, { once: true });
    });
  }

  /** Closes the files of the logs that have not been used for longest. */
  async #park(): Promise<void> {
    if (this.#logs.size <= OPEN_FILES) return;
    for (const log of [...this.#logs.values()].slice(0, -OPEN_FILES)) {
      await (await log.catch(() => undefined))?.park();
    }
  }

  async #sweep(): Promise<void> {
    try {
      for await (const { name, settings } of listLogs(this.#tree)) {
        if (settings.retention?.maxAgeMs !== undefined) await (await this.#find(name))?.trim();
        if (this.#closed) return;
      }
    } catch {
      // A log that is damaged says so to whoever uses it.
    }
    if (!this.#closed) this.#stopSweep = runAfter(SWEEP_MS, () => void this.#sweep());
  }
}

/** Every log that the tree knows of. */
export async function* listLogs(
  tree: Pick<Tree, "all">,
): AsyncGenerator<{ name: string; settings: LogSettings }, void, undefined> {
  for await (const { key, value } of tree.all(LOGS))
    yield { name: key.slice(LOGS.length), settings: decode(value) };
}

/** The bytes of all files beneath `folder`. */
async function bytesIn(folder: string): Promise<number> {
  let sum = 0;
  for (const log of await readdir(folder)) {
    const names = await readdir(join(folder, log)).catch(() => []);
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, log, name))).size));
    for (const size of sizes) sum += size;
  }
  return sum;
}

const encode = (settings: LogSettings): Buffer => Buffer.from(JSON.stringify(settings));
const decode = (bytes: Buffer): LogSettings => JSON.parse(bytes.toString()) as LogSettings;

/** What the system refuses is told as the engine's fault. */
async function faulty<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toEngineFault(error) ?? error;
  }
}
