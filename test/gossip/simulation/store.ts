import type { MapValue } from "../../../gen/atomix/map/map_pb.js";
import { decodeJournalRecord } from "../../../src/client/gossip-map/journal-record.js";
import type { GossipPersistence, GossipStore } from "../../../src/client/gossip-persistence.js";
import type { Random } from "./random.js";
import type { SimulatedProcess } from "./scheduler.js";
import { orderOf } from "./version.js";

/** A write of the store takes at most so long, in milliseconds. */
const MAX_WRITE_MS = 40;

/** The disk of an origin. It survives all processes; a crash loses what was not stored yet. */
export class Disk {
  #records: readonly Uint8Array[] = [];

  /** The storage as one process sees it. */
  connect(process: SimulatedProcess, random: Random, scope: string): GossipPersistence {
    return { scope, open: async () => this.#open(process, random) };
  }

  #open(process: SimulatedProcess, random: Random): GossipStore {
    /** The records that this tab has loaded or appended. */
    let known: Uint8Array[] = [];
    /** A write that is under way in a crash may be stored, although the process never hears of it. */
    const write = async (apply: () => void): Promise<void> => {
      const isEarly = random.hasChance(0.5);
      await process.delay(random.between(0.1, MAX_WRITE_MS / 2));
      if (isEarly) apply();
      await process.delay(random.between(0.1, MAX_WRITE_MS / 2));
      if (!isEarly) apply();
    };
    return {
      load: async () => {
        await process.delay(random.between(0.1, MAX_WRITE_MS));
        known = [...this.#records];
        return { records: known };
      },
      append: (record) =>
        write(() => {
          known.push(record);
          this.#records = [...this.#records, record];
        }),
      replace: async (records) => {
        const all = [...records];
        await write(() => {
          const others = this.#records.filter((record) => !known.includes(record));
          known = all;
          this.#records = [...others, ...all];
        });
      },
      close: async () => {},
    };
  }

  /** The newest entry of each key that is stored. */
  entries(): Map<string, MapValue> {
    const entries = new Map<string, MapValue>();
    for (const record of this.#records) {
      for (const line of decodeJournalRecord(record)) {
        if (line.type !== "set") continue;
        const present = entries.get(line.key);
        if (!present || orderOf(line.value, present) > 0) entries.set(line.key, line.value);
      }
    }
    return entries;
  }
}

/** The longest time from a write of a member until a crash cannot lose it any more, in milliseconds. */
export const STORED_WITHIN_MS = 1000;
