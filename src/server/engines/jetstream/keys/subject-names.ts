import type { StreamInfo } from "@nats-io/jetstream";
import { type Backoff, jitteredMs } from "../../../../lib/backoff.js";
import { delay } from "../../../../lib/timer.js";
import { EngineFault } from "../../../engine.js";
import type { JetStreamSession } from "../session.js";
import { streamName } from "../streams.js";

const STALE: Backoff = { minMs: 10, maxMs: 250 };

/** The subjects that have messages in the stream of keys. */
export class SubjectNames {
  readonly #session: JetStreamSession;

  constructor(session: JetStreamSession) {
    this.#session = session;
  }

  /** The subjects that match `filter`, as of the sequence `least` or later. */
  async find(filter: string, least: number): Promise<string[]> {
    const names: string[] = [];
    let step = 1;
    for (let offset = 0; ; ) {
      const { page, total } = await this.#page(filter, offset, least);
      const last = names.at(-1);
      if (last !== undefined && offset > 0 && (page[0] === undefined || page[0] > last)) {
        // Names before the page were removed, so that some may have moved to an earlier page.
        offset = Math.max(0, offset - step);
        step *= 2;
        continue;
      }
      for (const name of page) if (last === undefined || name > last) names.push(name);
      if (offset + page.length >= total) return names;
      // The last name of this page is the first of the next one, if nothing changes.
      offset += page.length - 1;
      step = 1;
    }
  }

  /** Some names in ASCII order, from the place `offset` on, and how many there are. */
  async #page(filter: string, offset: number, least: number): Promise<{ page: string[]; total: number }> {
    const method = `STREAM.INFO.${streamName(this.#session.name, "keys")}`;
    const deadlineMs = performance.now() + this.#session.waitMs;
    for (let failures = 1; ; failures++) {
      const info = await this.#session.api<StreamInfo & { total?: number }>(method, {
        subjects_filter: filter,
        offset,
      });
      if (info.state.last_seq >= least) {
        const page = Object.keys(info.state.subjects ?? {}).sort();
        return { page, total: info.total ?? page.length };
      }
      // A former leader has answered.
      if (performance.now() > deadlineMs) {
        throw new EngineFault(
          "unavailable",
          `no leader of the keys answers within ${this.#session.waitMs} ms`,
        );
      }
      await delay(jitteredMs(STALE, failures), this.#session.closing);
      this.#session.checkOpen();
    }
  }
}
