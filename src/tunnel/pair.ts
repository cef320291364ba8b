import { LOW_WATER, type OpenSocket, type Socket, type SocketEvents } from "./socket.js";

export interface PairOptions {
  /** What all chance comes from: the same seed, the same run. Default: 1. */
  seed?: number;
  /** How many turns of the event loop a message may take at most; the least is one. Default: 1. */
  mostTurns?: number;
  /** How likely it is, from 0 to 1, that a message is the last one before the connection is lost. Default: 0. */
  loss?: number;
}

/** Two sockets in memory that are each other's end, and the way to cut what lies between them. */
export interface Pair {
  readonly ends: readonly [OpenSocket, OpenSocket];
  /** Loses the connection, with all that is under way. */
  cut(): void;
  /** How many bytes each end has been sent and has not had yet. */
  readonly underWay: readonly [number, number];
}

/**
 * A connection in memory whose delays and losses come from a seed: messages stay whole and in order, as WebSocket has
 * them, while the two directions run against each other in any order.
 */
export function pair({ seed = 1, mostTurns = 1, loss = 0 }: PairOptions = {}): Pair {
  const chance = randomFrom(seed);
  const events: (SocketEvents | undefined)[] = [undefined, undefined];
  const underWay: [number, number] = [0, 0];
  let isClosed = false;
  const closeBoth = (code: number, reason: string) => {
    if (isClosed) return;
    isClosed = true;
    for (const each of events) each?.closed(code, reason);
  };

  const end = (mine: 0 | 1): OpenSocket => {
    const other = mine === 0 ? 1 : 0;
    const queue: { bytes: Uint8Array; turns: number }[] = [];
    let isRunning = false;
    const turn = () => {
      const [first] = queue;
      if (!first || isClosed) {
        isRunning = false;
        return;
      }
      if (--first.turns <= 0 && events[other]) {
        queue.shift();
        underWay[other] -= first.bytes.length;
        events[other]?.message(first.bytes);
        if (underWay[other] <= LOW_WATER && !isClosed) events[mine]?.drained();
        if (chance() < loss) closeBoth(1006, "lost");
      }
      setTimeout(turn, 0);
    };
    return (mineEvents): Socket => {
      events[mine] = mineEvents;
      return {
        send(bytes) {
          if (isClosed) return;
          underWay[other] += bytes.length;
          queue.push({ bytes, turns: 1 + Math.floor(chance() * mostTurns) });
          if (isRunning) return;
          isRunning = true;
          setTimeout(turn, 0);
        },
        get buffered() {
          return underWay[other];
        },
        hold() {},
        close: (code, reason) => {
          // What was sent before still arrives, and then the end.
          if (isClosed) return;
          for (const { bytes } of queue.splice(0)) events[other]?.message(bytes);
          closeBoth(code, reason);
        },
      };
    };
  };
  return { ends: [end(0), end(1)], cut: () => closeBoth(1006, "cut"), underWay };
}

/** Numbers from 0 to 1 that follow from a seed: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
