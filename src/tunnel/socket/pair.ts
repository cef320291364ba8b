import { randomFrom } from "../../lib/seeded-random.js";
import { queueMacrotask } from "../../lib/set-immediate.js";
import { ByteReader } from "../wire/bytes.js";
import { LOW_WATER_BYTES, type OpenSocket, type Socket, type SocketEvents } from "./socket.js";

export interface PairOptions {
  /** The seed of all random choices: the same seed gives the same run. Default: 1. */
  seed?: number;
  /** The most turns of the event loop that a message takes; the least is one. Default: 1. */
  maxTurns?: number;
  /** The least time that each message is in flight, in milliseconds; others may follow meanwhile. Default: 0. */
  delayMs?: number;
  /** The probability that a message is split between two frames, or joined to the one before it. Default: 0. */
  regroupChance?: number;
  /** The probability that the connection is lost after a message. Default: 0. */
  lossChance?: number;
}

/** Two sockets in memory that are connected to each other. */
export interface Pair {
  readonly ends: readonly [OpenSocket, OpenSocket];
  /** Loses the connection, with everything in flight. */
  cut(): void;
  /** Delivers nothing any more, and closes nothing, as a network that disappears. */
  stall(): void;
  /** The bytes in flight to each end. */
  readonly bytesInFlight: readonly [number, number];
}

/** A message in flight. */
interface InFlight {
  bytes: Uint8Array;
  turns: number;
  dueMs: number;
}

/** Messages are joined up to this size, which every peer accepts. */
const MAX_JOINED_BYTES = 1024 * 1024;

/**
 * A connection in memory with seeded delays, splits and losses. As with WebSocket, frames stay whole and in order,
 * while the order between the two directions is random.
 */
export function createSocketPair({
  seed = 1,
  maxTurns = 1,
  delayMs = 0,
  regroupChance = 0,
  lossChance = 0,
}: PairOptions = {}): Pair {
  const network = new PairNetwork(seed, { maxTurns, delayMs, regroupChance, lossChance });
  const directions = [new PairDirection(network, 0), new PairDirection(network, 1)] as const;
  return {
    ends: [(events) => directions[0].open(events), (events) => directions[1].open(events)],
    cut: () => network.close(1006, "cut"),
    stall: () => {
      network.isStalled = true;
    },
    bytesInFlight: network.bytesInFlight,
  };
}

/** State that the two directions of a pair share. */
class PairNetwork {
  readonly options: Required<Omit<PairOptions, "seed">>;
  /** Returns the next random number, from 0 to 1. */
  readonly random: () => number;
  readonly events: (SocketEvents | undefined)[] = [undefined, undefined];
  readonly bytesInFlight: [number, number] = [0, 0];
  isClosed = false;
  isStalled = false;

  constructor(seed: number, options: PairNetwork["options"]) {
    this.random = randomFrom(seed);
    this.options = options;
  }

  close(code: number, reason: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const events of this.events) events?.onClosed(code, reason);
  }
}

/** The messages from one end to the other. */
class PairDirection {
  readonly #network: PairNetwork;
  readonly #from: 0 | 1;
  readonly #to: 0 | 1;
  readonly #queue: InFlight[] = [];
  #isRunning = false;

  constructor(network: PairNetwork, from: 0 | 1) {
    this.#network = network;
    this.#from = from;
    this.#to = from === 0 ? 1 : 0;
  }

  /** The socket of the sending end, which reports to `events`. */
  open(events: SocketEvents): Socket {
    const network = this.#network;
    const to = this.#to;
    network.events[this.#from] = events;
    return {
      send: (bytes) => this.#send(bytes),
      get bufferedBytes() {
        // With a delay the messages are in the network, which has room.
        return network.options.delayMs > 0 ? 0 : network.bytesInFlight[to];
      },
      keepProcessAlive() {},
      close: (code, reason) => {
        // Messages sent before the close are delivered before it.
        if (network.isClosed) return;
        for (const { bytes } of network.isStalled ? [] : this.#queue.splice(0)) {
          network.events[to]?.onMessage(bytes);
        }
        network.close(code, reason);
      },
    };
  }

  #send(bytes: Uint8Array): void {
    const { isClosed, bytesInFlight, options, random } = this.#network;
    if (isClosed) return;
    bytesInFlight[this.#to] += bytes.length;
    const { regroupChance } = options;
    const parts = regroupChance > 0 ? splitFrames(bytes, () => random() < regroupChance) : [bytes];
    for (const part of parts) this.#enqueue(part);
    if (this.#isRunning) return;
    this.#isRunning = true;
    queueMacrotask(() => this.#runTurn());
  }

  #enqueue(bytes: Uint8Array): void {
    const { maxTurns, regroupChance, delayMs } = this.#network.options;
    const { random } = this.#network;
    const last = this.#queue.at(-1);
    const turns = 1 + Math.floor(random() * maxTurns);
    const mayJoin = last && regroupChance > 0 && random() < regroupChance;
    if (mayJoin && last.bytes.length + bytes.length <= MAX_JOINED_BYTES) {
      last.bytes = concat(last.bytes, bytes);
    } else {
      this.#queue.push({ bytes, turns, dueMs: performance.now() + delayMs });
    }
  }

  /** Delivers the first message if it is due, once in each turn of the event loop. */
  #runTurn(): void {
    const { isClosed, isStalled, events, options, random } = this.#network;
    const [first] = this.#queue;
    if (!first || isClosed || isStalled) {
      this.#isRunning = false;
      return;
    }
    const earlyMs = first.dueMs - performance.now();
    if (earlyMs > 0) {
      setTimeout(() => this.#runTurn(), earlyMs);
      return;
    }
    const receiver = events[this.#to];
    if (--first.turns <= 0 && receiver) {
      this.#queue.shift();
      this.#deliver(first.bytes, receiver);
      if (random() < options.lossChance) this.#network.close(1006, "lost");
    }
    queueMacrotask(() => this.#runTurn());
  }

  #deliver(bytes: Uint8Array, receiver: SocketEvents): void {
    const network = this.#network;
    network.bytesInFlight[this.#to] -= bytes.length;
    receiver.onMessage(bytes);
    if (network.bytesInFlight[this.#to] <= LOW_WATER_BYTES && !network.isClosed) {
      network.events[this.#from]?.onDrained();
    }
  }
}

/**
 * Splits a message between frames wherever `splitsHere` returns true. One with malformed frames stays whole from
 * there.
 */
function splitFrames(message: Uint8Array, splitsHere: () => boolean): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const reader = new ByteReader(message);
  let start = 0;
  try {
    while (!reader.isAtEnd) {
      reader.byte();
      reader.bytes(reader.varint());
      if (reader.isAtEnd || !splitsHere()) continue;
      parts.push(message.slice(start, reader.offset));
      start = reader.offset;
    }
  } catch {
    // It is for the other end to refuse malformed frames.
  }
  return [...parts, start === 0 ? message : message.slice(start)];
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
