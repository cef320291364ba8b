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
    find: "if (clock === undefined || clock <= this.#last || this.isTooFarAhead(timestamp, maxAheadMs)) return;",
    replace: "return;",
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
    find: "    this.#confirmations.changed(key);\n",
    replace: "",
  },
  {
    name: "any version that the peer has confirms the newest",
    file: "gossip/confirmations.ts",
    find: "if (!oldest || !covers(oldest.value)) return;",
    replace: "if (!oldest) return;",
  },
  {
    name: "a write that was replaced before it was sent is confirmed",
    file: "gossip/confirmations.ts",
    find: "this.#mayLack(key, 0);",
    replace: "this.#mayLack(key, this.#replica.revisionOf(key));",
  },
  {
    name: "equal hashes confirm what was written since",
    file: "gossip/confirmations.ts",
    find: "if (oldest.revision > revision || (isIn && !isIn[this.#replica.fingerprints.bucketOf(key)])) continue;\n      this.#unconfirmed.delete(key);\n      if (this.#replica.revisionOf(key) > revision) this.#mayLack(key, revision + 1);",
    replace: "void oldest;\n      this.#unconfirmed.delete(key);",
  },
  {
    name: "the hash of an entry ignores its timestamp",
    file: "gossip/fingerprints.ts",
    find: "input.bytes(timestamp).text(key);",
    replace: "input.text(key);",
  },
  {
    name: "a new entry of the peer's round is caught up when it is requested",
    file: "gossip/link.ts",
    find: "if (this.#hasWholeRound && this.#outbox.hasAllRequested) this.#caughtUp = true;",
    replace: "if (this.#hasWholeRound) this.#caughtUp = true;",
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
    name: "a server accepts entries that are too far ahead",
    file: "server/services/gossip-map.ts",
    find: "    if (refusal) {",
    replace: "    if (refusal && Math.abs(0) > 1) {",
  },
  {
    name: "a member does not correct its clock",
    file: "client/gossip-map/clock-sync.ts",
    find: "    this.#sentMs = undefined;\n    this.#options.replica.clock.offsetMs = this.#offset.offsetMs;",
    replace: "    this.#sentMs = undefined;",
  },
  {
    name: "writes that are too far ahead are dropped",
    file: "client/gossip-map/clock-sync.ts",
    find: "    onRestamped(replica.restamp(ahead.filter(isUnsent)));\n    onDropped(replica.drop(ahead.filter((key) => !isUnsent(key))));",
    replace: "    void isUnsent;\n    void onRestamped;\n    onDropped(replica.drop(ahead));",
  },
  {
    name: "the end of a lifetime is not reported",
    file: "gossip/replica.ts",
    find: "      this.#onEnded?.({ key, before: value, after: value, live: undefined, revision });",
    replace: "      void revision;\n      void value;",
  },
  {
    name: "a journal refuses what the clock finds too far ahead",
    file: "client/gossip-map/journal.ts",
    find: "replica.restore(key, line.value)",
    replace: "replica.apply(key, line.value)",
  },
  {
    name: "a journal stores only the first of several changes",
    file: "client/gossip-map/journal.ts",
    find: '    this.#dirty.set(key, "set");\n    this.#schedule(WRITE_BEHIND_MS);',
    replace:
      '    if (this.#dirty.size === 0) this.#dirty.set(key, "set");\n    this.#schedule(WRITE_BEHIND_MS);',
  },
  {
    name: "a tab takes what the leading tab has as confirmed by the server",
    file: "client/gossip-map/member.ts",
    find: "confirm: () => (isFollowing() ? this.#tabs?.confirm(true) : undefined),",
    replace: "confirm: () => undefined,",
  },
  {
    name: "a tab keeps its stream when the leading tab has changed",
    file: "client/gossip-map/sync.ts",
    find: 'this.#rerouting.abort(new ConnectError("the peer has changed", Code.Unavailable));',
    replace: "",
  },
];
