import type { Replacement } from "./seeds.js";

/** A mistake in the protocol that is made on purpose, and the violation that shows it. */
export interface SeededFault extends Replacement {
  readonly name: string;
}

/** Each of them must be found within the seeds of CI. */
export const SEEDED_FAULTS: readonly SeededFault[] = [
  {
    name: "two writes at the same clock are not ordered by the member's id",
    file: "gossip/clock.ts",
    find: "  compareBytes(a.length === 0 ? ZERO : a, b.length === 0 ? ZERO : b);",
    replace:
      "  compareBytes((a.length === 0 ? ZERO : a).subarray(0, 8), (b.length === 0 ? ZERO : b).subarray(0, 8));",
  },
  {
    name: "the clock does not observe the timestamps of others",
    file: "gossip/clock.ts",
    find: "if (clock !== undefined && clock > this.#last) this.#last = clock;",
    replace: "",
  },
  {
    name: "a removal replaces newer values",
    file: "gossip/replica.ts",
    find: "return !present || compareValues(value, present) > 0;",
    replace: "return !present || isTombstone(value) || compareValues(value, present) > 0;",
  },
  {
    name: "tombstones are collected before they are old",
    file: "gossip/replica.ts",
    find: "if (storedMs > untilMs) break;",
    replace: "",
  },
  {
    name: "tombstones are collected before the members have them",
    file: "gossip/replica.ts",
    find: "if (isShared(key)) keys.push(key);",
    replace: "keys.push(key);",
  },
  {
    name: "an entry is confirmed when it is sent",
    file: "gossip/link.ts",
    find: "    this.#mayLack(key);\n    this.#outbox.changed(key);",
    replace: "    this.#outbox.changed(key);",
  },
  {
    name: "any version that the peer has confirms the newest",
    file: "gossip/link.ts",
    find: "if (!oldest || !covers(oldest.value)) return;",
    replace: "",
  },
  {
    name: "a new entry of the peer's round is caught up when it is requested",
    file: "gossip/link.ts",
    find: "if (this.#hasWholeRound && this.#outbox.hasAllRequested) this.#caughtUp = true;",
    replace: "if (this.#hasWholeRound) this.#caughtUp = true;",
  },
  {
    name: "the last chunk ends at its last key",
    file: "gossip/link.ts",
    find: "this.#compareRange(round, isLast ? undefined : last, digest);",
    replace: "this.#compareRange(round, last, digest);",
  },
  {
    name: "an answered round is still awaited, so that rounds answer each other for ever",
    file: "gossip/outbox.ts",
    find: "      this.#awaitedRounds--;",
    replace: "      this.#owedRounds = 1;",
  },
  {
    name: "the server has an entry before it is committed",
    file: "server/services/gossip-map/hub.ts",
    find: "this.#committing = { from, values: new Map(pending) };",
    replace:
      "this.#committing = { from, values: new Map(pending) };\n        for (const [key, value] of pending) this.#replica.apply(key, value);",
  },
  {
    name: "a commit replaces what another server has written",
    file: "server/services/gossip-map/hub.ts",
    find: "      value: toBinary(MapValueSchema, value),\n      ifVersion: this.#versions.get(key) ?? 0n,\n    }));",
    replace: "      value: toBinary(MapValueSchema, value),\n    }));",
  },
  {
    name: "a server does not hear of what is committed while it loads the map",
    file: "server/services/gossip-map/hub.ts",
    find: "    const changes = this.#keys.watch(this.#prefix, this.#closing.signal);\n    for await (const entry of this.#keys.list(this.#prefix)) this.#apply(entry);",
    replace:
      "    for await (const entry of this.#keys.list(this.#prefix)) this.#apply(entry);\n    const changes = this.#keys.watch(this.#prefix, this.#closing.signal);",
  },
  {
    name: "a tombstone that another server has collected is forgotten before the members here have it",
    file: "server/services/gossip-map/hub.ts",
    find: "if ([...this.#links].every((link) => link.has(key))) {",
    replace: "{",
  },
  {
    name: "a member whose stream has ended stays linked",
    file: "server/services/gossip-map.ts",
    find: "for (const { hub, link } of joined.values()) hub.leave(link);",
    replace: "",
  },
  {
    name: "the client collects tombstones that the server does not have",
    file: "client/gossip-map/sync.ts",
    find: "if (link) replica.forget(replica.forgettable((key) => link.has(key)));",
    replace: "void link;\n    replica.forget(replica.forgettable(() => true));",
  },
];
