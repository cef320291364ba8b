import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { ResponseStatus } from "../../../../gen/atomix/pb/headers/headers_pb.js";
import {
  type BackupRequest,
  BackupRequestSchema,
  DigestSchema,
  type Entry,
  MapService,
} from "../../../../gen/atomix/pb/map/map_pb.js";
import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { delay, runAfter } from "../../../lib/timer.js";
import type { Log } from "../../context.js";
import type { KeyStore } from "../../engine.js";
import { type Address, addressFacts } from "./address.js";
import { Backlog, splitBatches } from "./batches.js";
import { decodeEntry, timestampOf } from "./entry.js";

export interface BackupReplicaOptions {
  /** The backup's address, and the way to it. */
  url: string;
  dial: () => Transport;
  address: Address;
  /** The term of this primary. */
  term: bigint;
  /** The timestamp up to which every change is in the engine. */
  published: bigint;
  keys: KeyStore;
  ackTimeoutMs: number;
  log: Log;
  /** Called when the backup has got further. */
  onProgress: () => void;
  /** Called when the backup has seen a later term: this server is not the primary any more. */
  onDeposed: () => void;
}

const RECONNECT: Backoff = { minMs: 50, maxMs: 5000 };

/** Once it has been in sync for this long, a backup that is lost is called again as soon as one never lost. */
const STEADY_MS = 30_000;

/** A wait for a backup: over when it has everything up to this timestamp. */
type Wait = { timestamp: bigint; resolve: () => void; reject: (error: unknown) => void };

/**
 * One backup of one partition, as the primary keeps it: each stream to it begins with the whole partition and goes on
 * with each change. Writes wait for it while it is in sync, and in the beginning as long as it may take to answer.
 * When it cannot be reached, answers late or lags behind, they do not wait any more until it has caught up.
 */
export class BackupReplica {
  readonly #options: BackupReplicaOptions;
  readonly #stop = new AbortController();
  readonly #backlog = new Backlog();
  #state: "joining" | "in sync" | "behind" = "joining";
  #published: bigint;
  /** The timestamp up to which the backup has everything; -1n while that is not known. */
  #has = -1n;
  #waits: Wait[] = [];
  #wake: (() => void) | undefined;
  #answered: (() => void) | undefined;

  constructor(options: BackupReplicaOptions) {
    this.#options = options;
    this.#published = options.published;
    runAfter(options.ackTimeoutMs, () => {
      if (this.#state === "joining") this.#fallBehind("it has not caught up yet");
    });
    void this.#run();
  }

  /** The timestamp up to which the backup, being in sync, has everything; -1n while it is not. */
  get has(): bigint {
    return this.#state === "in sync" ? this.#has : -1n;
  }

  /** Sends `changes` in their turn. Resolves when the backup has them, or is not to be waited for. */
  publish(changes: readonly Entry[], through: bigint): Promise<void> {
    this.#published = through;
    this.#backlog.push(changes);
    this.#wake?.();
    if (this.#state === "behind") return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waits.push({ timestamp: through, resolve, reject });
    });
  }

  /** Ends the stream; what waits fails with `reason`. */
  close(reason: unknown): void {
    this.#stop.abort(reason);
    for (const { reject } of this.#waits.splice(0)) reject(reason);
    this.#state = "behind";
  }

  async #run(): Promise<void> {
    for (let failures = 1; !this.#stop.signal.aborted; failures++) {
      const startedAtMs = performance.now();
      try {
        await this.#session();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (this.#state === "in sync" && performance.now() - startedAtMs > STEADY_MS) failures = 1;
        this.#backlog.stop();
        this.#fallBehind(ConnectError.from(error).rawMessage);
      }
      await delay(jitteredMs(RECONNECT, failures), this.#stop.signal);
    }
  }

  /** One stream, from its opening until it fails. */
  async #session(): Promise<void> {
    const { dial, onDeposed } = this.#options;
    const client = createClient(MapService, dial());
    const ended = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, ended.signal]);
    try {
      for await (const { header } of client.backup(this.#requests(ended), { signal, timeoutMs: 0 })) {
        if (header?.status === ResponseStatus.ERROR) return onDeposed();
        this.#answered?.();
      }
      throw new ConnectError("it ended the stream", Code.Unavailable);
    } finally {
      ended.abort();
      this.#answered?.();
      this.#wake?.();
    }
  }

  /** A request at a time: what comes while one is under way goes into the next one together. */
  async *#requests(ended: AbortController): AsyncGenerator<BackupRequest, void, undefined> {
    const { address, term, ackTimeoutMs } = this.#options;
    for await (const batch of this.#batches(ended.signal)) {
      const late = new ConnectError(`no answer within ${ackTimeoutMs} ms`, Code.DeadlineExceeded);
      const callOff = runAfter(ackTimeoutMs, () => ended.abort(late));
      const answer = new Promise<void>((resolve) => {
        this.#answered = resolve;
      });
      // Each in the primary's own term, whichever it was written in: a request's term is that of its entries.
      const entries = batch.map((entry) => ({
        ...entry,
        digest: create(DigestSchema, { term, timestamp: timestampOf(entry) }),
      }));
      yield create(BackupRequestSchema, { header: address.header, entries });
      await answer;
      callOff();
      if (ended.signal.aborted) return;
    }
  }

  /** What the backup lacks. A batch is only asked for when the backup has answered to the last one. */
  async *#batches(ended: AbortSignal): AsyncGenerator<Entry[], void, undefined> {
    this.#has = -1n;
    while (true) {
      const published = this.#published;
      this.#backlog.restart();
      yield* splitBatches(this.#stored(this.#has));
      // From here on writes wait for it, so that they cannot be faster than it for long.
      if (!this.#backlog.dropping) this.#catchUp();
      this.#confirm(published);
      while (!this.#backlog.dropping) {
        const batch = this.#backlog.take();
        const last = batch.at(-1);
        if (last) {
          yield batch;
          this.#confirm(timestampOf(last));
        } else {
          await this.#more();
          if (ended.aborted) return;
        }
      }
      this.#fallBehind("more changes wait for it than may");
    }
  }

  /** Every entry of the partition with a timestamp above `since`, tombstones included. */
  async *#stored(since: bigint): AsyncGenerator<Entry, void, undefined> {
    const { keys, address } = this.#options;
    for await (const { value } of keys.list(address.entriesPrefix)) {
      const entry = decodeEntry(value);
      if (timestampOf(entry) > since) yield entry;
    }
  }

  /** Resolves at the next publish(), or at the end of the stream. */
  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #confirm(timestamp: bigint): void {
    if (timestamp > this.#has) this.#has = timestamp;
    const reached = this.#waits.filter((wait) => wait.timestamp <= this.#has);
    this.#waits = this.#waits.filter((wait) => wait.timestamp > this.#has);
    for (const { resolve } of reached) resolve();
    this.#options.onProgress();
  }

  #catchUp(): void {
    const { log, url, address } = this.#options;
    if (this.#state === "behind") log.info({ url, ...addressFacts(address) }, "a backup is in sync again");
    this.#state = "in sync";
  }

  /** Writes do not wait for it from now on, nor those that do already. */
  #fallBehind(why: string): void {
    if (this.#state === "behind") return;
    this.#state = "behind";
    const { log, url, address } = this.#options;
    log.warn({ url, ...addressFacts(address), why }, "a backup is out of sync");
    for (const { resolve } of this.#waits.splice(0)) resolve();
  }
}
