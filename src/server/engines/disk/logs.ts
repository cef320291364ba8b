import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { runAfter } from "../../../lib/timer.js";
import type { LogRecord, LogStore, Retention } from "../../engine.js";
import { closedError, fullError } from "../shared/errors.js";
import { toEngineFault } from "./errors.js";
import type { Files } from "./files.js";
import { DiskLog } from "./log.js";
import { LogCheckpoint } from "./log-checkpoint.js";
import { LogCreation } from "./log-creation.js";
import { frameBytes, SEGMENT_HEADER_BYTES } from "./log-frame.js";
import { type LogSettings, listLogs, loadLogSettings, logSettingsOp } from "./log-settings.js";
import { LogWriter } from "./log-writer.js";
import type { Tree } from "./tree.js";

export interface LogOptions {
  files: Files;
  folder: string;
  segmentBytes: number;
  /** The bytes that all logs may take on the disk. */
  maxLogBytes: number;
}

/** The most records in one batch of a read. */
const BATCH_RECORDS = 512;

/** How many logs may have an open file at the same time. */
const MAX_OPEN_FILES = 256;

/** How often unused logs are checked for records that became too old. */
const SWEEP_MS = 60_000;

/** The logs of the disk engine: a folder of segments each, opened when it is first used. */
export class DiskLogs implements LogStore {
  readonly #tree: Tree;
  readonly #options: LogOptions;
  /** The open logs, least recently used first. */
  readonly #logs = new Map<string, Promise<DiskLog | undefined>>();
  readonly #creation = new LogCreation();
  /** The logs of #logs whose opening has succeeded. */
  readonly #opened = new Set<DiskLog>();
  /** While a backup pins the logs, no log removes a segment. */
  readonly #pins = { count: 0 };
  /** The bytes of all logs on the disk. */
  #bytes: number;
  /** The bytes that are being appended. */
  #appending = 0;
  readonly #checkpoint = new LogCheckpoint((logs) => this.#saveEnds(logs));
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
    return withEngineFault(async () => {
      const log = await this.#findOrCreate(name);
      const bytes = frameBytes(values);
      await this.#reserve(log, bytes);
      const { first, last } = await log.append(values).finally(() => {
        this.#appending -= bytes;
      });
      this.#checkpoint.schedule(name, log);
      void this.#closeUnusedFiles();
      return { first: BigInt(first), last: BigInt(last) };
    });
  }

  async *read(
    name: string,
    from: bigint,
    { follow, signal }: { follow: boolean; signal: AbortSignal },
  ): AsyncGenerator<LogRecord[], void, undefined> {
    this.#checkOpen();
    let log = await this.#find(name);
    // A follower waits for a log that does not exist yet; for other readers such a log is empty.
    while (!log && follow && !signal.aborted && !this.#closed) {
      await this.#creation.wait(name, () => this.#logs.has(name), signal);
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
    this.#checkOpen();
    const log = await this.#find(name);
    if (!log) return { first: 1n, next: 1n };
    const first = await log.first();
    return { first: BigInt(first), next: BigInt(log.next) };
  }

  async seek(name: string, timestampMs: number): Promise<bigint> {
    this.#checkOpen();
    const log = await this.#find(name);
    return log ? BigInt(await log.seek(timestampMs)) : 1n;
  }

  async retain(name: string, retention: Retention): Promise<void> {
    return withEngineFault(async () => {
      const log = await this.#findOrCreate(name);
      // Records that the previous retention has dropped stay dropped.
      await log.first();
      log.settings.retention = { ...retention };
      await this.#save(name, log.settings);
      await log.trim();
    });
  }

  /** Opens every log, so that extents() has all of them. */
  async openAll(): Promise<void> {
    for await (const { name } of listLogs(this.#tree)) await this.#find(name);
  }

  /** The files of every open log and the durable bytes of each, by the log's id. */
  extents(): Map<string, { name: string; end: number }[]> {
    return new Map([...this.#opened].map((log) => [log.settings.id, log.extent]));
  }

  /** Keeps all segments until the returned function is called. */
  pin(): () => void {
    this.#pins.count++;
    return () => {
      this.#pins.count--;
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopSweep();
    this.#checkpoint.close();
    this.#creation.close();
    await Promise.all([...this.#logs].map(([name, log]) => this.#closeLog(name, log)));
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError("disk");
  }

  /** Reserves `bytes`. Fails if they would exceed the bound even after the log was trimmed by its own retention. */
  async #reserve(log: DiskLog, bytes: number): Promise<void> {
    const { maxLogBytes } = this.#options;
    const isFull = () => this.#bytes + this.#appending + bytes > maxLogBytes;
    if (isFull()) await log.trim();
    if (isFull()) throw fullError("maxLogBytes", maxLogBytes, "all logs of the disk engine together");
    this.#appending += bytes;
  }

  async #saveEnds(logs: readonly (readonly [name: string, log: DiskLog])[]): Promise<void> {
    const ops = logs.map(([name, { settings, next }]) => {
      settings.next = next;
      return logSettingsOp(name, settings);
    });
    await this.#tree.write(ops);
  }

  async #closeLog(name: string, opening: Promise<DiskLog | undefined>): Promise<void> {
    const log = await opening.catch(() => undefined);
    await log?.close();
    if (!log || log.settings.next === log.next) return;
    // With its end stored, the next opening detects missing records. If this write fails, it detects fewer.
    await this.#save(name, { ...log.settings, next: log.next }).catch(() => {});
  }

  async #find(name: string): Promise<DiskLog | undefined> {
    const open = this.#logs.get(name);
    if (open) {
      this.#logs.delete(name);
      this.#logs.set(name, open);
      return open;
    }
    const settings = loadLogSettings(this.#tree, name);
    return settings && this.#track(name, this.#openLog(settings));
  }

  async #findOrCreate(name: string): Promise<DiskLog> {
    this.#checkOpen();
    const present = await this.#find(name);
    if (present) return present;
    this.#checkOpen();
    const opening = this.#logs.get(name) ?? this.#track(name, this.#create(name));
    return (await opening) as DiskLog;
  }

  #track(name: string, opening: Promise<DiskLog>): Promise<DiskLog> {
    this.#logs.set(name, opening);
    opening.then(
      (log) => this.#opened.add(log),
      () => this.#logs.delete(name),
    );
    return opening;
  }

  async #create(name: string): Promise<DiskLog> {
    const settings: LogSettings = { id: String(this.#tree.nextVersion()), first: 1, retention: undefined };
    await LogWriter.create(this.#options.files, join(this.#options.folder, settings.id));
    this.#bytes += SEGMENT_HEADER_BYTES;
    await this.#save(name, settings);
    const log = await this.#openLog(settings);
    this.#creation.notify(name);
    return log;
  }

  #openLog(settings: LogSettings): Promise<DiskLog> {
    const { files, folder, segmentBytes } = this.#options;
    const { clock } = this.#tree;
    const onBytes = (change: number) => {
      this.#bytes += change;
    };
    const options = { clock, segmentBytes, onBytes, pins: this.#pins };
    return DiskLog.open(files, join(folder, settings.id), settings, options);
  }

  async #save(name: string, settings: LogSettings): Promise<void> {
    await this.#tree.write([logSettingsOp(name, settings)]);
  }

  /** Closes the files of the least recently used logs. */
  async #closeUnusedFiles(): Promise<void> {
    if (this.#logs.size <= MAX_OPEN_FILES) return;
    for (const log of [...this.#logs.values()].slice(0, -MAX_OPEN_FILES)) {
      await (await log.catch(() => undefined))?.closeFile();
    }
  }

  async #sweep(): Promise<void> {
    try {
      for await (const { name, settings } of listLogs(this.#tree)) {
        if (settings.retention?.maxAgeMs !== undefined) await (await this.#find(name))?.trim();
        if (this.#closed) return;
      }
    } catch {
      // A damaged log reports that to its users.
    }
    if (!this.#closed) this.#stopSweep = runAfter(SWEEP_MS, () => void this.#sweep());
  }
}

/** The bytes of all files in the folders of `folder`. */
async function bytesIn(folder: string): Promise<number> {
  let sum = 0;
  for (const log of await readdir(folder)) {
    const names = await readdir(join(folder, log)).catch(() => []);
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, log, name))).size));
    for (const size of sizes) sum += size;
  }
  return sum;
}

/** Converts the errors of the operating system to an EngineFault. */
async function withEngineFault<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toEngineFault(error) ?? error;
  }
}
