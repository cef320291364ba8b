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
import type { Environment } from "../../../gossip/environment.js";
import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { onAbort } from "../../../lib/on-abort.js";
import { MAP_COPY_HEADER } from "../../../rpc/extension-headers.js";
import type { KeyStore } from "../../engine.js";
import type { Address } from "./address.js";
import { Backlog, splitBatches, storedEntries } from "./batches.js";
import { type ComparedRange, controlEntry } from "./control.js";
import { highest, timestampOf } from "./entry.js";

/** Where a copy of a partition is. */
export interface CopyAddress {
  /** The id of the copy. */
  copy: string;
  /** The URL of its server. */
  url: string;
}

export interface FollowerOptions extends CopyAddress {
  dial: (url: string) => Transport;
  address: Address;
  /** The term of this primary. */
  term: bigint;
  /** The engine of this primary's copy. */
  keys: KeyStore;
  ackTimeoutMs: number;
  environment: Environment;
  /** Whether the copy is in the in-sync set at the beginning of the term. */
  isInSync: boolean;
  /** The timestamp up to which every copy that is in sync was known to have everything. */
  replicated: bigint;
  /** The timestamp of the latest change of this primary. */
  published: () => bigint;
  /** The present value of `replicated`, to tell the copy. */
  announced: () => bigint;
  /** Called when the copy has confirmed further changes, and when `isCaughtUp` has changed. */
  onChanged: (follower: BackupCopy) => void;
  /** Called when the copy has seen a later term. */
  onRefused: () => void;
}

/** The number of streams that this process has opened: one process leads in all of a term. */
let streams = 0n;

const REDIAL: Backoff = { minMs: 20, maxMs: 2000 };

/**
 * A primary's view of one copy of its partition, on another server. The stream to it begins with what the copy lacks
 * after `confirmed`, and continues with the changes. In between, all entries are compared once per term, and again
 * after the copy was not caught up.
 */
export class BackupCopy {
  readonly copy: string;
  readonly url: string;
  readonly #options: FollowerOptions;
  readonly #stop = new AbortController();
  readonly #backlog = new Backlog();
  #stream = 0n;
  /** The copy has everything up to this timestamp, if it is caught up. */
  #confirmed: bigint;
  #isCaughtUp: boolean;
  #isCompared = false;
  /** Why it was given up last, for the log. */
  reason = "";
  #wake: (() => void) | undefined;
  #onResponse: (() => void) | undefined;
  #stopGraceTimer: (() => void) | undefined;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.copy = options.copy;
    this.url = options.url;
    this.#isCaughtUp = options.isInSync;
    this.#confirmed = options.isInSync ? options.replicated : -1n;
    if (options.isInSync) this.#startGrace("it cannot be reached");
    void this.#run();
  }

  /** Whether the copy is complete, so that it may be in sync. */
  get isCaughtUp(): boolean {
    return this.#isCaughtUp;
  }

  /** The copy has everything up to this timestamp; -1n: it is not caught up. */
  get confirmed(): bigint {
    return this.#isCaughtUp ? this.#confirmed : -1n;
  }

  /** Queues `changes` for the copy. */
  publish(changes: readonly Entry[]): void {
    this.#backlog.push(changes);
    this.#wake?.();
  }

  /** Gives the copy up until it has been compared. */
  giveUp(reason: string): void {
    this.#endGrace();
    if (!this.#isCaughtUp) return;
    this.reason = reason;
    this.#isCaughtUp = false;
    this.#isCompared = false;
    this.#options.onChanged(this);
  }

  /** Ends the stream. */
  close(): void {
    this.#endGrace();
    this.#stop.abort();
    this.#wake?.();
  }

  async #run(): Promise<void> {
    const { environment } = this.#options;
    for (let failures = 1; !this.#stop.signal.aborted; failures++) {
      const startedAtMs = environment.monotonicMs();
      try {
        await this.#session();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (environment.monotonicMs() - startedAtMs > REDIAL.maxMs) failures = 1;
        this.#onFailure(ConnectError.from(error));
      }
      await this.#pause(jitteredMs(REDIAL, failures, environment.random));
    }
  }

  /** A stream that was lost may be opened again in time; a copy that has not answered in time was waited for. */
  #onFailure({ code, rawMessage }: ConnectError): void {
    this.#backlog.stop();
    if (code === Code.DeadlineExceeded || code === Code.FailedPrecondition) this.giveUp(rawMessage);
    else if (this.#isCaughtUp) this.#startGrace(rawMessage);
  }

  #startGrace(reason: string): void {
    const { environment, ackTimeoutMs } = this.#options;
    this.#stopGraceTimer ??= environment.after(ackTimeoutMs, () => this.giveUp(reason));
  }

  #endGrace(): void {
    this.#stopGraceTimer?.();
    this.#stopGraceTimer = undefined;
  }

  #pause(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        stopTimer();
        stopListening();
        resolve();
      };
      const stopTimer = this.#options.environment.after(waitMs, end);
      let stopListening = () => {};
      stopListening = onAbort(this.#stop.signal, end);
    });
  }

  /** Opens one stream, and returns or throws when it ends. */
  async #session(): Promise<void> {
    const { dial, url, copy, onRefused } = this.#options;
    this.#stream = ++streams;
    const client = createClient(MapService, dial(url));
    const ended = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, ended.signal]);
    const headers = { [MAP_COPY_HEADER]: copy };
    try {
      for await (const { header } of client.backup(this.#requests(ended), {
        signal,
        headers,
        timeoutMs: 0,
      })) {
        if (header?.status === ResponseStatus.ERROR) return onRefused();
        this.#onResponse?.();
      }
      throw new ConnectError("it ended the stream", Code.Unavailable);
    } catch (error) {
      // The reason of a timeout, which the transport may have replaced by its own error.
      throw ended.signal.aborted ? ended.signal.reason : error;
    } finally {
      ended.abort();
      this.#onResponse?.();
      this.#wake?.();
    }
  }

  async *#requests(ended: AbortController): AsyncGenerator<BackupRequest, void, undefined> {
    this.#backlog.restart();
    if (this.#isCaughtUp) yield* this.#missedChanges(ended);
    let comparison = this.#isCompared ? undefined : this.#comparison();
    while (!ended.signal.aborted) {
      if (this.#backlog.dropping) {
        this.giveUp("too many changes wait for it");
        this.#backlog.restart();
        comparison = this.#comparison();
      }
      const changes = this.#backlog.take();
      if (changes.length > 0) {
        const isConfirmed = yield* this.#exchange(ended, changes);
        if (isConfirmed) this.#confirm(timestampOf(changes.at(-1) as Entry));
      } else if (comparison) {
        const { value: batch } = await comparison.next();
        if (batch) yield* this.#exchange(ended, batch.entries, batch.range);
        else comparison = this.#backlog.dropping ? comparison : this.#onCompared();
      } else {
        await this.#nextPublish();
      }
    }
  }

  /** Sends what the copy has not confirmed yet; an empty request if that is nothing, so that it learns of the term. */
  async *#missedChanges(ended: AbortController): AsyncGenerator<BackupRequest, void, undefined> {
    const published = this.#options.published();
    let isSent = false;
    for await (const batch of splitBatches(storedEntries(this.#options, this.#confirmed))) {
      if (!(yield* this.#exchange(ended, batch))) return;
      isSent = true;
    }
    if (isSent || (yield* this.#exchange(ended, []))) this.#confirm(published);
  }

  /**
   * Sends one request and waits for its response, but not longer than the timeout. Returns whether the copy has
   * confirmed it.
   */
  async *#exchange(
    ended: AbortController,
    batch: readonly Entry[],
    range?: ComparedRange,
  ): AsyncGenerator<BackupRequest, boolean, undefined> {
    const { address, term, ackTimeoutMs, environment, announced } = this.#options;
    const timeout = new ConnectError(`no answer within ${ackTimeoutMs} ms`, Code.DeadlineExceeded);
    const stopTimer = environment.after(ackTimeoutMs, () => ended.abort(timeout));
    const response = new Promise<void>((resolve) => {
      this.#onResponse = resolve;
    });
    // All entries get the primary's own term, whichever they were written in, as it is the term of the request.
    const entries = batch.map((entry) => ({
      ...entry,
      digest: create(DigestSchema, { term, timestamp: timestampOf(entry) }),
    }));
    const replicated = announced();
    const control = controlEntry({
      term,
      stream: this.#stream,
      ...(replicated >= 0n && { replicated }),
      ...(range && { range }),
    });
    try {
      yield create(BackupRequestSchema, { header: address.header, entries: [control, ...entries] });
      await response;
    } finally {
      stopTimer();
    }
    if (ended.signal.aborted) return false;
    this.#endGrace();
    return true;
  }

  /** Every entry of the partition, in ranges of keys. */
  async *#comparison(): AsyncGenerator<{ entries: Entry[]; range: ComparedRange }, undefined, undefined> {
    const { published } = this.#options;
    const upTo = published();
    let after: string | undefined;
    let previous: Entry[] | undefined;
    for await (const batch of splitBatches(storedEntries(this.#options, -1n))) {
      if (previous) {
        const through = (previous.at(-1) as Entry).key;
        yield { entries: previous, range: { ...(after !== undefined && { after }), through, upTo } };
        after = through;
      }
      previous = batch;
    }
    // The last range has no end, so that it covers what the copy has after the last key.
    yield { entries: previous ?? [], range: { ...(after !== undefined && { after }), upTo } };
    if (!this.#isCaughtUp) this.#confirmed = highest([this.#confirmed, upTo]);
    return undefined;
  }

  #onCompared(): undefined {
    this.#isCompared = true;
    if (this.#isCaughtUp) return;
    this.#isCaughtUp = true;
    this.#options.onChanged(this);
  }

  /** Resolves at the next publish() or at the end of the stream. */
  #nextPublish(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #confirm(timestamp: bigint): void {
    if (timestamp > this.#confirmed) this.#confirmed = timestamp;
    if (this.#isCaughtUp) this.#options.onChanged(this);
  }
}
