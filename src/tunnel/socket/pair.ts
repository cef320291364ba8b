import { randomFrom } from "../../lib/seeded-random.js";
import { queueMacrotask } from "../../lib/set-immediate.js";
import { now } from "../heartbeat.js";
import { ByteReader } from "../wire/bytes.js";
import { LOW_WATER, type OpenSocket, type Socket, type SocketEvents } from "./socket.js";

export interface PairOptions {
  /** What all chance comes from: the same seed, the same run. Default: 1. */
  seed?: number;
  /** How many turns of the event loop a message may take at most; the least is one. Default: 1. */
  maxTurns?: number;
  /** How long each message is under way at least, in milliseconds; others may follow it meanwhile. Default: 0. */
  delayMs?: number;
  /** How likely it is, from 0 to 1, that a message is divided between two of its frames, or is joined to the one before it. Default: 0. */
  regroupChance?: number;
  /** How likely it is, from 0 to 1, that a message is the last one before the connection is lost. Default: 0. */
  lossChance?: number;
}

/** Two sockets in memory that are each other's end, and the way to cut what lies between them. */
export interface Pair {
  readonly ends: readonly [OpenSocket, OpenSocket];
  /** Loses the connection, with all that is under way. */
  cut(): void;
  /** Lets nothing through any more, and closes nothing: a network that vanished. */
  stall(): void;
  /** How many bytes each end has been sent and has not had yet. */
  readonly bytesInFlight: readonly [number, number];
}

/** A message under way. */
interface Letter {
  bytes: Uint8Array;
  turns: number;
  dueMs: number;
}

/** The most bytes that messages are joined to: what every peer takes. */
const MOST_JOINED = 1024 * 1024;

/**
 * A connection in memory whose delays, splits and losses come from a seed: frames stay whole and in order, as WebSocket
 * has them, while the two directions run against each other in any order.
 */
export function createSocketPair({
  seed = 1,
  maxTurns: mostTurns = 1,
  delayMs = 0,
  regroupChance: regroup = 0,
  lossChance: loss = 0,
}: PairOptions = {}): Pair {
  const chance = randomFrom(seed);
  const events: (SocketEvents | undefined)[] = [undefined, undefined];
  const underWay: [number, number] = [0, 0];
  let isClosed = false;
  let isStalled = false;
  const closeBoth = (code: number, reason: string) => {
    if (isClosed) return;
    isClosed = true;
    for (const each of events) each?.onClosed(code, reason);
  };

  const end = (mine: 0 | 1): OpenSocket => {
    const other = mine === 0 ? 1 : 0;
    const queue: Letter[] = [];
    let isRunning = false;
    const turn = () => {
      const [first] = queue;
      if (!first || isClosed || isStalled) {
        isRunning = false;
        return;
      }
      const earlyMs = first.dueMs - now();
      if (earlyMs > 0) {
        setTimeout(turn, earlyMs);
        return;
      }
      if (--first.turns <= 0 && events[other]) {
        queue.shift();
        underWay[other] -= first.bytes.length;
        events[other]?.onMessage(first.bytes);
        if (underWay[other] <= LOW_WATER && !isClosed) events[mine]?.onDrained();
        if (chance() < loss) closeBoth(1006, "lost");
      }
      queueMacrotask(turn);
    };
    const post = (bytes: Uint8Array) => {
      const last = queue.at(-1);
      const turns = 1 + Math.floor(chance() * mostTurns);
      if (last && regroup > 0 && chance() < regroup && last.bytes.length + bytes.length <= MOST_JOINED) {
        last.bytes = joined(last.bytes, bytes);
      } else {
        queue.push({ bytes, turns, dueMs: now() + delayMs });
      }
    };
    return (mineEvents): Socket => {
      events[mine] = mineEvents;
      return {
        send(bytes) {
          if (isClosed) return;
          underWay[other] += bytes.length;
          for (const part of regroup > 0 ? divided(bytes, () => chance() < regroup) : [bytes]) post(part);
          if (isRunning) return;
          isRunning = true;
          queueMacrotask(turn);
        },
        get bufferedBytes() {
          // With a delay it is the network that has them, and there is room in that.
          return delayMs > 0 ? 0 : underWay[other];
        },
        keepProcessAlive() {},
        close: (code, reason) => {
          // What was sent before still arrives, and then the end.
          if (isClosed) return;
          for (const { bytes } of isStalled ? [] : queue.splice(0)) events[other]?.onMessage(bytes);
          closeBoth(code, reason);
        },
      };
    };
  };
  return {
    ends: [end(0), end(1)],
    cut: () => closeBoth(1006, "cut"),
    stall: () => {
      isStalled = true;
    },
    bytesInFlight: underWay,
  };
}

/** The message in parts, each of whole frames; as it is where its bytes are none. */
function divided(message: Uint8Array, isHere: () => boolean): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const reader = new ByteReader(message);
  let start = 0;
  try {
    while (!reader.isAtEnd) {
      reader.byte();
      reader.bytes(reader.varint());
      if (reader.isAtEnd || !isHere()) continue;
      parts.push(message.slice(start, reader.offset));
      start = reader.offset;
    }
  } catch {
    // Broken frames are broken for the other end to see.
  }
  return [...parts, start === 0 ? message : message.slice(start)];
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
