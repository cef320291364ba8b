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
import type { Logger } from "../../context.js";
import type { KeyStore } from "../../engine.js";
import { type Address, addressFacts } from "./address.js";
import { Backlog, splitBatches, storedEntries } from "./batches.js";
import { timestampOf } from "./entry.js";

export interface BackupReplicaOptions {
  /** The backup's URL. */
  url: string;
  dial: () => Transport;
  address: Address;
  /** The term of this primary. */
  term: bigint;
  /** All changes up to this timestamp are in the engine. */
  published: bigint;
  keys: KeyStore;
  ackTimeoutMs: number;
  log: Logger;
  /** Called when the backup has confirmed further changes. */
  onProgress: () => void;
  /** Called when the backup has seen a later term: this server is no longer the primary. */
  onDeposed: () => void;
}

const RECONNECT: Backoff = { minMs: 50, maxMs: 5000 };

/** A stream that lasted this long resets the backoff. */
const STABLE_MS = 30_000;

/** A write that waits until the backup has everything up to this timestamp. */
type Wait = { timestamp: bigint; resolve: () => void; reject: (error: unknown) => void };

/**
 * The primary's view of one backup of one partition. Each stream to it begins with the whole partition and continues
 * with the changes. Writes wait for a backup that is in sync, and for a new one until its first timeout. If it cannot
 * be reached, answers late or lags behind, writes do not wait for it until it has caught up.
 */
export class BackupReplica {
  readonly #options: BackupReplicaOptions;
  readonly #stop = new AbortController();
  readonly #backlog = new Backlog();
  #state: "joining" | "in sync" | "behind" = "joining";
  #published: bigint;
  /** The backup has confirmed everything up to this timestamp; -1n: unknown. */
  #confirmed = -1n;
  #waits: Wait[] = [];
  #wake: (() => void) | undefined;
  #onResponse: (() => void) | undefined;

  constructor(options: BackupReplicaOptions) {
    this.#options = options;
    this.#published = options.published;
    runAfter(options.ackTimeoutMs, () => {
      if (this.#state === "joining") this.#fallBehind("it has not caught up yet");
    });
    void this.#run();
  }

  /** The backup has everything up to this timestamp; -1n while it is not in sync. */
  get confirmed(): bigint {
    return this.#state === "in sync" ? this.#confirmed : -1n;
  }

  /** Queues `changes`. Resolves when the backup has them, or at once if writes do not wait for it. */
  publish(changes: readonly Entry[], through: bigint): Promise<void> {
    this.#published = through;
    this.#backlog.push(changes);
    this.#wake?.();
    if (this.#state === "behind") return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waits.push({ timestamp: through, resolve, reject });
    });
  }

  /** Ends the stream. Waiting writes fail with `reason`. */
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
        if (this.#state === "in sync" && performance.now() - startedAtMs > STABLE_MS) failures = 1;
        this.#backlog.stop();
        this.#fallBehind(ConnectError.from(error).rawMessage);
      }
      await delay(jitteredMs(RECONNECT, failures), this.#stop.signal);
    }
  }

  /** Opens one stream, and returns or throws when it ends. */
  async #session(): Promise<void> {
    const { dial, onDeposed } = this.#options;
    const client = createClient(MapService, dial());
    const ended = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, ended.signal]);
    try {
      for await (const { header } of client.backup(this.#requests(ended), { signal, timeoutMs: 0 })) {
        if (header?.status === ResponseStatus.ERROR) return onDeposed();
        this.#onResponse?.();
      }
      throw new ConnectError("it ended the stream", Code.Unavailable);
    } finally {
      ended.abort();
      this.#onResponse?.();
      this.#wake?.();
    }
  }

  /** Sends one request at a time. Changes that arrive in the meantime share the next request. */
  async *#requests(ended: AbortController): AsyncGenerator<BackupRequest, void, undefined> {
    const { address, term, ackTimeoutMs } = this.#options;
    for await (const batch of this.#batches(ended.signal)) {
      const timeout = new ConnectError(`no answer within ${ackTimeoutMs} ms`, Code.DeadlineExceeded);
      const stopTimer = runAfter(ackTimeoutMs, () => ended.abort(timeout));
      const response = new Promise<void>((resolve) => {
        this.#onResponse = resolve;
      });
      // All entries get the primary's own term, whichever they were written in, as it is the term of the request.
      const entries = batch.map((entry) => ({
        ...entry,
        digest: create(DigestSchema, { term, timestamp: timestampOf(entry) }),
      }));
      yield create(BackupRequestSchema, { header: address.header, entries });
      await response;
      stopTimer();
      if (ended.signal.aborted) return;
    }
  }

  /** The entries that the backup lacks. The next batch is read after the backup has confirmed the last one. */
  async *#batches(ended: AbortSignal): AsyncGenerator<Entry[], void, undefined> {
    this.#confirmed = -1n;
    while (true) {
      const published = this.#published;
      this.#backlog.restart();
      yield* splitBatches(storedEntries(this.#options, this.#confirmed));
      // From here on writes wait for the backup, so that they cannot outrun it.
      if (!this.#backlog.dropping) this.#markInSync();
      this.#confirm(published);
      while (!this.#backlog.dropping) {
        const batch = this.#backlog.take();
        const last = batch.at(-1);
        if (last) {
          yield batch;
          this.#confirm(timestampOf(last));
        } else {
          await this.#nextPublish();
          if (ended.aborted) return;
        }
      }
      this.#fallBehind("too many changes wait for it");
    }
  }

  /** Resolves at the next publish() or at the end of the stream. */
  #nextPublish(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #confirm(timestamp: bigint): void {
    if (timestamp > this.#confirmed) this.#confirmed = timestamp;
    const confirmed = this.#waits.filter((wait) => wait.timestamp <= this.#confirmed);
    this.#waits = this.#waits.filter((wait) => wait.timestamp > this.#confirmed);
    for (const { resolve } of confirmed) resolve();
    this.#options.onProgress();
  }

  #markInSync(): void {
    const { log, url, address } = this.#options;
    if (this.#state === "behind") log.info({ url, ...addressFacts(address) }, "a backup is in sync again");
    this.#state = "in sync";
  }

  /** Releases the waiting writes. Further writes do not wait for the backup. */
  #fallBehind(why: string): void {
    if (this.#state === "behind") return;
    this.#state = "behind";
    const { log, url, address } = this.#options;
    log.warn({ url, ...addressFacts(address), why }, "a backup is out of sync");
    for (const { resolve } of this.#waits.splice(0)) resolve();
  }
}
