import { create } from "@bufbuild/protobuf";
import {
  AntiEntropyAdvertisementSchema,
  GossipMapService,
  type MapValue,
  MapValueSchema,
  type Message,
  MessageSchema,
  UpdateRequestSchema,
  UpdateSchema,
} from "../../../gen/atomix/map/map_pb.js";
import { utf8 } from "../../../src/lib/utf8.js";
import { Observed } from "./history.js";
import { type Copy, type MemberOptions, TARGET } from "./member.js";
import type { StreamClient } from "./network.js";
import type { Random } from "./random.js";
import type { SimulatedProcess } from "./scheduler.js";
import { orderOf } from "./version.js";

/** How often it advertises all of its keys. */
const ADVERTISE_MS = 2000;

/** How long it waits between two streams. */
const RECONNECT_MS = 300;

/**
 * A member of another implementation: it advertises the digests of all keys in one message, writes only the clock into
 * its timestamps, and never collects tombstones.
 */
export class ForeignMember implements Copy, StreamClient {
  readonly index: number;
  readonly id: string;
  readonly process: SimulatedProcess;
  readonly random: Random;
  readonly observed = new Observed();
  readonly isForeign = true;
  readonly onRead: (message: Message) => void;
  readonly #options: MemberOptions;
  readonly #entries = new Map<string, MapValue>();
  #lastClock = 0n;
  #outgoing: Message[] = [];
  #wake = () => {};
  #stop: AbortController | undefined;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.index = options.index;
    this.id = options.id;
    this.process = options.process;
    this.random = options.random;
    this.onRead = options.onRead;
    void this.#run();
    this.#advertiseRepeatedly();
  }

  get(key: string): MapValue | undefined {
    return this.#entries.get(key);
  }

  keys(): Iterable<string> {
    return this.#entries.keys();
  }

  set(key: string, value: string): void {
    this.#write(key, value);
  }

  delete(keys: Iterable<string>): void {
    for (const key of [...keys]) {
      const present = this.#entries.get(key);
      if (present && !present.digest?.tombstone) this.#write(key);
    }
  }

  kill(): void {
    this.process.kill();
  }

  #write(key: string, value?: string): void {
    const wall = BigInt(this.process.nowMs()) << 16n;
    this.#lastClock = wall > this.#lastClock ? wall : this.#lastClock + 1n;
    const timestamp = new Uint8Array(8);
    new DataView(timestamp.buffer).setBigUint64(0, this.#lastClock);
    const entry = create(MapValueSchema, {
      digest: { timestamp, tombstone: value === undefined },
      ...(value !== undefined && { value: utf8(value) }),
    });
    this.#store(key, entry);
    this.#options.onWrite(key, entry);
    this.#sendEntries([key]);
  }

  #store(key: string, entry: MapValue): void {
    const present = this.#entries.get(key);
    if (present && orderOf(entry, present) <= 0) return;
    this.#entries.set(key, entry);
    const { timestamp } = entry.digest ?? {};
    if (!timestamp || timestamp.length < 8) return;
    const clock = new DataView(timestamp.buffer, timestamp.byteOffset).getBigUint64(0);
    if (clock > this.#lastClock) this.#lastClock = clock;
  }

  async #run(): Promise<void> {
    const transport = this.#options.network.transportOf(this);
    while (!this.process.isDead) {
      this.#stop = new AbortController();
      this.#outgoing = [];
      this.#advertise();
      try {
        const input = this.#messages(this.#stop.signal) as AsyncIterable<never>;
        const { signal } = this.#stop;
        const response = await transport.stream(GossipMapService.method.connect, signal, 0, undefined, input);
        for await (const message of response.message) this.#receive(message as Message);
      } catch {
        // Opens another stream.
      }
      this.#stop.abort();
      this.#wake();
      await this.process.delay(RECONNECT_MS);
    }
  }

  async *#messages(signal: AbortSignal): AsyncGenerator<Message, void> {
    while (!signal.aborted) {
      const next = this.#outgoing.shift();
      if (next) yield next;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #advertiseRepeatedly(): void {
    this.process.after(ADVERTISE_MS, () => {
      if (this.#outgoing.length === 0) this.#advertise();
      this.#advertiseRepeatedly();
    });
  }

  #receive({ message }: Message): void {
    switch (message.case) {
      case "update":
        for (const [key, entry] of Object.entries(message.value.updates)) this.#store(key, entry);
        return;
      case "updateRequest":
        this.#sendEntries(message.value.keys.filter((key) => this.#entries.has(key)));
        return;
      case "antiEntropyAdvertisement": {
        const { digest: theirs } = message.value;
        const newer = (key: string) => {
          const digest = theirs[key];
          const own = this.#entries.get(key);
          if (!digest || !own) return own ? 1 : -1;
          return orderOf({ ...own, value: new Uint8Array() }, create(MapValueSchema, { digest }));
        };
        this.#sendEntries([...this.#entries.keys()].filter((key) => newer(key) > 0));
        const missing = Object.keys(theirs).filter((key) => newer(key) < 0);
        if (missing.length === 0) return;
        this.#send({ case: "updateRequest", value: create(UpdateRequestSchema, { keys: missing }) });
        return;
      }
    }
  }

  #advertise(): void {
    const digest = Object.fromEntries([...this.#entries].map(([key, entry]) => [key, entry.digest ?? {}]));
    const value = create(AntiEntropyAdvertisementSchema, { digest });
    this.#send({ case: "antiEntropyAdvertisement", value });
  }

  #sendEntries(keys: readonly string[]): void {
    if (keys.length === 0) return;
    const value = create(UpdateSchema);
    value.updates = Object.fromEntries(keys.map((key) => [key, this.#entries.get(key) as MapValue]));
    this.#send({ case: "update", value });
  }

  #send(message: Message["message"]): void {
    this.#outgoing.push(create(MessageSchema, { source: this.id, target: TARGET, message }));
    this.#wake();
  }
}
