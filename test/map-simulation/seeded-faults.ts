import type { SeededFault } from "./world/bundle.js";

const MAP = "services/map";

/** A fault of one edit: `find` occurs exactly once in the file below src/server/services/map. */
const fault = (
  description: string,
  seed: number,
  file: string,
  find: string,
  replace: string,
): SeededFault => ({
  description,
  seed,
  edits: [{ file: `${MAP}/${file}`, find, replace }],
});

/** A fault of several edits. */
const faultOf = (
  description: string,
  seed: number,
  ...edits: readonly (readonly [file: string, find: string, replace: string])[]
): SeededFault => ({
  description,
  seed,
  edits: edits.map(([file, find, replace]) => ({ file: `${MAP}/${file}`, find, replace })),
});

/** Faults in the servers, each of which a simulation must find. */
export const seededFaults: readonly SeededFault[] = [
  fault(
    "a write is acknowledged before the backups have it",
    1,
    "primary.ts",
    "if (timestamp > this.#replicated && !this.#ended) {",
    "if (timestamp < 0n) {",
  ),
  fault(
    "the in-sync set shrinks after the writes that do not wait for the backup",
    2,
    "primary.ts",
    "if (!(await this.inSync.remove(copy))) return false;\n    this.#required.delete(copy);",
    "this.#required.delete(copy);\n    this.#advance();\n    if (!(await this.inSync.remove(copy))) return false;",
  ),
  fault(
    "a backup joins the in-sync set before it has been compared",
    3,
    "follower.ts",
    "let comparison = this.#isCompared ? undefined : this.#comparison();",
    "if (!this.#isCompared) this.#onCompared();\n    let comparison = undefined;",
  ),
  faultOf(
    "a server outside of the in-sync set becomes the primary",
    2,
    ["election/candidacy.ts", "if (rank < 0 && (candidates.length > 0 || !uncleanElection)) return;", ""],
    ["election/candidacy.ts", "if (!isClean && record.inSync.some((each) => live.has(each))) return;", ""],
    [
      "election/candidacy.ts",
      "rank < 0 ? 2 * leaseMs : rank * RANK_SHARE * leaseMs",
      "rank < 0 ? 0 : leaseMs",
    ],
  ),
  fault(
    "a takeover does not wait for the end of the lease",
    35,
    "election/membership.ts",
    ">= record.leaseMs;",
    ">= record.leaseMs * 0.3;",
  ),
  fault(
    "a primary does not check its lease",
    15,
    "primary.ts",
    "if (!this.#options.isLeaseValid()) throw leaseEndedError();",
    "",
  ),
  fault(
    "a lease is measured by the wall clock",
    11,
    "election/session.ts",
    "Math.max(monotonicMs() - this.#sentAt.monotonicMs, nowMs() - this.#sentAt.wallMs)",
    "nowMs() - this.#sentAt.wallMs",
  ),
  faultOf(
    "a backup accepts an older term",
    15,
    [
      "elected-backup.ts",
      "if (term < draft.term) return false;\n      takeNewer(draft, entries, term);",
      "takeNewer(draft, entries, term);",
    ],
    ["primary.ts", "if (!this.#options.isLeaseValid()) throw leaseEndedError();", ""],
    ["partitions.ts", "primary.leadership(seen);\n      return entry;", "return entry;"],
  ),
  fault(
    "versions start again with each term",
    1,
    "draft.ts",
    "const timestamp = highest([this.#timestamp, floor]) + 1n;",
    "const timestamp = (highest([this.#timestamp, floor]) & 0xffff_ffffn) + 1n;",
  ),
  fault(
    "tombstones are collected before the backups have them",
    25,
    "primary.ts",
    "    this.#advance();\n    return this.settled(through);",
    "    void this.#tombstones.collect(() => this.#published);\n    this.#advance();\n    return this.settled(through);",
  ),
  fault(
    "a comparison drops nothing, so what a deposed primary never replicated survives",
    1,
    "elected-backup.ts",
    "if (!control.range) return true;",
    "if (entries) return true;",
  ),
  fault(
    "a read returns what the backups may not have",
    1,
    "partitions.ts",
    "await abortable(primary.settled(timestampOf(entry)), signal)",
    "await Promise.resolve()",
  ),
  fault(
    "a conflict tells of a write that the backups may not have",
    33,
    "partition.ts",
    "if (replicated) replicated.then(() => reject(error), reject);\n      else reject(error);",
    "void replicated?.catch(() => {});\n      reject(error);",
  ),
];
