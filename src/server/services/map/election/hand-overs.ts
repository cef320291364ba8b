import type { Primary } from "../primary.js";
import type { Membership } from "./membership.js";
import { candidatesFor, chooseBackups, countLed, handOverOf } from "./placement.js";

export interface HandOversOptions {
  membership: Membership;
  /** The partitions of which this server is the primary. */
  primaries: ReadonlyMap<string, Primary>;
  /** The id of this server's session; undefined: it has none now. */
  sessionId: () => string | undefined;
  /** How many servers keep each partition. */
  replicas: number;
  /** How long a hand-over waits for calls under way, in milliseconds. */
  withinMs: number;
}

/** Where the partitions that this server leads are kept, and by whom they are led next. */
export class HandOvers {
  readonly #options: HandOversOptions;
  #handingOver: Promise<unknown> | undefined;

  constructor(options: HandOversOptions) {
    this.#options = options;
  }

  /** Chooses the backups of `primaries`. */
  placeBackups(primaries: Iterable<Primary>): void {
    const { membership, replicas } = this.#options;
    const leader = this.#session;
    if (!leader) return;
    const { live, partitions } = membership;
    const led = countLed(partitions);
    for (const primary of primaries) {
      const chosen = chooseBackups(live, { leader, count: replicas - 1, current: primary.copies, led });
      primary.setBackups(chosen.map(({ record: { copy, url } }) => ({ copy, url })));
    }
  }

  /** Hands one partition over if another server leads fewer. */
  async balance(): Promise<void> {
    const { membership, primaries, withinMs } = this.#options;
    const leader = this.#session;
    if (leader?.record.state !== "live") return;
    const move = handOverOf(membership.partitions, membership.live, leader);
    if (move) await primaries.get(move.recordKey)?.handOver(move.target, withinMs);
  }

  /** Hands over every partition for which another server is in sync. */
  all(): Promise<unknown> {
    const { primaries } = this.#options;
    this.#handingOver ??= Promise.all(
      [...primaries.values()].map((primary) => this.#handOver(primary)),
    ).finally(() => {
      this.#handingOver = undefined;
    });
    return this.#handingOver;
  }

  get #session() {
    const { membership, sessionId } = this.#options;
    const id = sessionId();
    return id === undefined ? undefined : membership.session(id);
  }

  async #handOver(primary: Primary): Promise<void> {
    const { membership, sessionId, withinMs } = this.#options;
    const { partitions, live } = membership;
    const others = live.filter(({ id, record }) => id !== sessionId() && record.state === "live");
    const [target] = candidatesFor(primary.inSync.present.record, others, countLed(partitions));
    if (target) await primary.handOver(target, withinMs);
  }
}
