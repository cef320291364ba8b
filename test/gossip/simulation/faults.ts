import type { Replacement } from "./seeds.js";

/** A mistake in the protocol that is made on purpose, and the violation that shows it. */
export interface SeededFault extends Replacement {
  readonly name: string;
  /** The seed that is tried first, as it has found the fault before. */
  readonly seed: number;
}

/** Each of them must be found within the seeds of CI. */
export const SEEDED_FAULTS: readonly SeededFault[] = [
  {
    name: "two writes at the same clock are not ordered by the member's id",
    seed: 0,
    file: "gossip/clock.ts",
    find: "  compareBytes(a.length === 0 ? ZERO : a, b.length === 0 ? ZERO : b);",
    replace:
      "  compareBytes((a.length === 0 ? ZERO : a).subarray(0, 8), (b.length === 0 ? ZERO : b).subarray(0, 8));",
  },
  {
    name: "the clock does not observe the timestamps of others",
    seed: 0,
    file: "gossip/clock.ts",
    find: "if (clock === undefined || clock <= this.#last || this.isTooFarAhead(timestamp, maxAheadMs)) return;",
    replace: "return;",
  },
  {
    name: "a removal replaces newer values",
    seed: 0,
    file: "gossip/replica.ts",
    find: "return !present || compareValues(value, present) > 0;",
    replace: "return !present || isTombstone(value) || compareValues(value, present) > 0;",
  },
  {
    name: "tombstones are collected before they are old",
    seed: 0,
    file: "gossip/replica.ts",
    find: "if (storedMs > untilMs) break;",
    replace: "",
  },
  {
    name: "an entry is confirmed when it is sent",
    seed: 0,
    file: "gossip/link.ts",
    find: "    this.#confirmations.changed(key);\n",
    replace: "",
  },
  {
    name: "any version that the peer has confirms the newest",
    seed: 0,
    file: "gossip/confirmations.ts",
    find: "if (!oldest || !covers(oldest.value)) return;",
    replace: "if (!oldest) return;",
  },
  {
    name: "a write that was replaced before it was sent is confirmed",
    seed: 35,
    file: "gossip/confirmations.ts",
    find: "this.#mayLack(key, 0);",
    replace: "this.#mayLack(key, this.#replica.revisionOf(key));",
  },
  {
    name: "equal hashes confirm what was written since",
    seed: 70,
    file: "gossip/confirmations.ts",
    find: "if (oldest.revision > revision || (isIn && !isIn[this.#replica.fingerprints.bucketOf(key)])) continue;\n      this.#unconfirmed.delete(key);\n      if (this.#replica.revisionOf(key) > revision) this.#mayLack(key, revision + 1);",
    replace: "void oldest;\n      this.#unconfirmed.delete(key);",
  },
  {
    name: "the hash of an entry ignores its timestamp",
    seed: 92,
    file: "gossip/fingerprints.ts",
    find: "input.bytes(timestamp).text(key);",
    replace: "input.text(key);",
  },
  {
    name: "the server has an entry before it is committed",
    seed: 20,
    file: "server/services/gossip-map/hub.ts",
    find: "this.#committing = { from, values: new Map(pending) };",
    replace:
      "this.#committing = { from, values: new Map(pending) };\n        for (const [key, value] of pending) this.#replica.apply(key, value);",
  },
  {
    name: "a commit replaces what another server has written",
    seed: 3,
    file: "server/services/gossip-map/hub.ts",
    find: "      value: toBinary(MapValueSchema, value),\n      ifVersion: this.#versions.get(key) ?? 0n,\n    }));",
    replace: "      value: toBinary(MapValueSchema, value),\n    }));",
  },
  {
    name: "a member whose stream has ended stays linked",
    seed: 12,
    file: "server/services/gossip-map.ts",
    find: "for (const { hub, link } of joined.values()) hub.leave(link);",
    replace: "",
  },
  {
    name: "a server accepts entries that are too far ahead",
    seed: 9,
    file: "server/services/gossip-map/clock-check.ts",
    find: "    if (refusal) {",
    replace: "    if (refusal && Math.abs(0) > 1) {",
  },
];
