import type { Retention } from "../../../engine.js";
import type { ClusterClock } from "../cluster-clock.js";
import { type LogState, offsetAtBytes } from "./message.js";
import type { MessageSearch } from "./search.js";

/** The offset of the oldest retained record of a log in this state, or of the next record if none is retained. */
export async function firstRetained(
  state: LogState,
  search: MessageSearch,
  clock: ClusterClock,
): Promise<number> {
  const { maxAgeMs, maxBytes, maxRecords } = state.retention;
  if (state.sequence === 0) return state.next;
  const firsts = [state.floor];
  if (maxRecords !== undefined) firsts.push(state.next - maxRecords);
  if (maxBytes !== undefined && state.bytes > maxBytes) {
    const excess = state.bytes - maxBytes;
    const message = await search.first(({ before, bytes }) => before + bytes >= excess, state);
    firsts.push(offsetAtBytes(message, excess));
  }
  if (maxAgeMs !== undefined) {
    const tooOldMs = clock.now() - maxAgeMs;
    if (state.timeMs <= tooOldMs) return state.next;
    firsts.push((await search.first(({ timeMs }) => timeMs > tooOldMs, state)).head.first);
  }
  return Math.min(Math.max(...firsts), state.next);
}

/** Whether two retentions keep the same. */
export const isSameRetention = (a: Retention, b: Retention): boolean =>
  a.maxAgeMs === b.maxAgeMs && a.maxBytes === b.maxBytes && a.maxRecords === b.maxRecords;
