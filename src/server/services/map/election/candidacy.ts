import type { Environment } from "../../../../gossip/environment.js";
import type { Logger } from "../../../context.js";
import { addressAt, addressFacts } from "../address.js";
import type { Grants } from "./grants.js";
import type { Membership, Versioned } from "./membership.js";
import { candidatesFor, countLed } from "./placement.js";
import type { PartitionRecord } from "./records.js";
import type { ElectionSession } from "./session.js";

/** How much later each further candidate tries to take over, as a share of the lease. */
const RANK_SHARE = 1 / 8;

export interface CandidacyOptions {
  membership: Membership;
  grants: Grants;
  environment: Environment;
  log: Logger;
  /** This server's own URL. */
  url: string;
  leaseMs: number;
  uncleanElection: boolean;
  /** This server's session; undefined: it has none now, or closes. */
  session: () => ElectionSession | undefined;
  /** The id of this server's copies. */
  copy: () => string;
  /** Compares the record with what this server does, again. */
  evaluate: (recordKey: string) => void;
}

/** This server as a candidate for the lead of partitions whose leaders are gone. */
export class Candidacy {
  readonly #options: CandidacyOptions;
  readonly #contending = new Set<string>();

  constructor(options: CandidacyOptions) {
    this.#options = options;
  }

  /** Tries to take over, after the candidates that lead fewer partitions. */
  contend(recordKey: string, known: Versioned<PartitionRecord>): void {
    const { membership, environment, leaseMs, uncleanElection, session } = this.#options;
    if (this.#contending.has(recordKey)) return;
    const { partitions, live } = membership;
    const candidates = candidatesFor(known.record, live, countLed(partitions));
    const rank = candidates.findIndex(({ id }) => id === session()?.id);
    if (rank < 0 && (candidates.length > 0 || !uncleanElection)) return;
    this.#contending.add(recordKey);
    const waitMs = rank < 0 ? 2 * leaseMs : rank * RANK_SHARE * leaseMs;
    if (waitMs === 0) void this.#takeOverIfOver(recordKey, known);
    else environment.after(waitMs, () => void this.#takeOverIfOver(recordKey, known));
  }

  async #takeOverIfOver(recordKey: string, known: Versioned<PartitionRecord>): Promise<void> {
    const { membership, environment, leaseMs, session, evaluate } = this.#options;
    if (membership.partition(recordKey) === known && membership.isOver(known.record)) {
      await this.#takeOver(recordKey, known);
    }
    this.#contending.delete(recordKey);
    if (membership.partition(recordKey)?.record.leader === session()?.id) return;
    // What has failed is not tried in a busy loop.
    environment.after(RANK_SHARE * leaseMs, () => evaluate(recordKey));
  }

  async #takeOver(recordKey: string, known: Versioned<PartitionRecord>): Promise<void> {
    const { membership, grants, log, url, leaseMs, ...own } = this.#options;
    const session = own.session();
    const copy = own.copy();
    if (!session?.isValid()) return;
    const { record } = known;
    const live = new Set(membership.live.map((member) => member.record.copy));
    const isClean = record.inSync.includes(copy);
    if (!isClean && record.inSync.some((each) => live.has(each))) return;
    const inSync = [...record.inSync.filter((each) => each !== copy && live.has(each)), copy];
    const next = { term: record.term + 1n, leader: session.id, url, leaseMs, inSync };
    const former = membership.session(record.leader);
    const isGranted = await grants.tryCommit(recordKey, known, next, former);
    if (!isGranted || isClean) return;
    log.error(
      { ...addressFacts(addressAt(recordKey)), term: next.term },
      "a copy that was not in sync is the primary now: acknowledged writes may be lost",
    );
  }
}
