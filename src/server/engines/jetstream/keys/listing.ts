import { compareUtf8 } from "../../../../lib/compare-utf8.js";
import type { Entry } from "../../../engine.js";
import type { JetStreamSession } from "../session.js";
import { subjectPrefix } from "../streams.js";
import {
  filterOfPrefix,
  hashedGroup,
  sortKey,
  subjectOfKey,
  subjectOfSortKey,
  subjectStart,
} from "./key-subjects.js";
import type { KeyReader } from "./reader.js";
import { presentEntry, type StoredEntry } from "./stored-entry.js";
import { SubjectNames } from "./subject-names.js";

/** The entries that are read at once: few for the first, as a caller may want no more. */
const FIRST_PAGE = 50;
const LARGEST_PAGE = 400;

/**
 * Lists keys in their order. A few are read by one request. Of more, the names are held in memory, and the entries are
 * read page by page.
 */
export class Listing {
  readonly #session: JetStreamSession;
  readonly #reader: KeyReader;
  readonly #names: SubjectNames;
  readonly #root: string;

  constructor(session: JetStreamSession, reader: KeyReader) {
    this.#session = session;
    this.#reader = reader;
    this.#names = new SubjectNames(session);
    this.#root = subjectPrefix(session.name, "keys");
  }

  async *list(prefix: string, after: string | undefined): AsyncGenerator<Entry, void, undefined> {
    const filter = filterOfPrefix(this.#root, prefix);
    const { entries, sequence } = await this.#reader.readAll(filter);
    if (entries) {
      yield* this.#liveEntries(entries, prefix, after);
      return;
    }
    const names = this.#order(await this.#names.find(filter, sequence), prefix, after);
    for (const page of pagesOf(names)) {
      this.#session.checkOpen();
      const snapshot = await this.#reader.read(page);
      yield* this.#liveEntries([...snapshot.entries.values()], prefix, after);
    }
  }

  /** Those of the entries that are under `prefix` and after `after`, in the order of their keys. */
  async *#liveEntries(
    stored: StoredEntry[],
    prefix: string,
    after: string | undefined,
  ): AsyncGenerator<Entry, void, undefined> {
    const sorted = stored
      .filter(({ key }) => key?.startsWith(prefix) && (after === undefined || compareUtf8(key, after) > 0))
      .sort((a, b) => compareUtf8(a.key ?? "", b.key ?? ""));
    for (const each of sorted) {
      const whole = each.parts > 0 ? await this.#whole(each) : each;
      const entry = presentEntry(whole, this.#session.clock.now());
      if (entry) yield entry;
      this.#session.checkOpen();
    }
  }

  /** The entry with its whole value, as it is now. */
  async #whole({ subject }: StoredEntry): Promise<StoredEntry | undefined> {
    const { entries } = await this.#reader.read([subject]);
    return entries.get(subject);
  }

  /** The sort keys of subjects under `prefix` and after `after`, in order. Others may be among them. */
  #order(subjects: string[], prefix: string, after: string | undefined): string[] {
    const start = subjectStart(this.#root, prefix);
    const sorted = subjects
      .filter((subject) => subject.startsWith(start))
      .map(sortKey)
      .sort();
    if (after === undefined) return sorted;
    const past = sortKey(pastOf(subjectOfKey(this.#root, after).subject));
    return sorted.slice(indexOfFirst(sorted, past));
  }
}

/** The index of the first of the sorted texts that is not before `least`. */
function indexOfFirst(sorted: readonly string[], least: string): number {
  let low = 0;
  for (let high = sorted.length; low < high; ) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as string) < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The earliest subject that may come after this one: those with a hash are not in the order of their keys. */
const pastOf = (subject: string): string => hashedGroup(subject) ?? subject;

/**
 * The subjects of sort keys, in pages. Those that are mixed with hashed ones are in one page, as only their keys order
 * them.
 */
function* pagesOf(sorted: readonly string[]): Generator<string[]> {
  let size = FIRST_PAGE;
  for (let start = 0; start < sorted.length; ) {
    let end = Math.min(sorted.length, start + size);
    const group = hashedGroup(subjectOfSortKey(sorted[end - 1] as string));
    while (group !== undefined && sorted[end]?.startsWith(sortKey(group))) end++;
    yield sorted.slice(start, end).map(subjectOfSortKey);
    start = end;
    size = Math.min(LARGEST_PAGE, size * 2);
  }
}
