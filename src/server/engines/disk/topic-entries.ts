import type { WriteOp } from "./store.js";
import type { Tree } from "./tree.js";

/** The prefixes in the tree of groups, events, attempts of events, and groups that are being removed. */
const GROUPS = "g";
const EVENTS = "e";
const ATTEMPTS = "a";
const FORGOTTEN = "d";

/** How many entries are read in one page. */
const PAGE_ENTRIES = 256;

/** The state of a group, as stored in the tree. */
export type GroupState = {
  id: number;
  /** The bytes of all unacknowledged events. */
  bytes: number;
  /** How long the engine had been open when the last consumer left; undefined: there is one, or it is not known. */
  idleFromMs?: number | undefined;
};

/** An event that waits for a group. */
export type Item = {
  /** The events of a group are delivered in this order. */
  order: number;
  attempts: number;
  /** The event is not delivered before this time. */
  dueMs: number;
  /** The bytes of the value. */
  bytes: number;
  /** Undefined: it must be read from the tree. */
  value: Uint8Array | undefined;
  /** The number of attempts that is stored. */
  counted: number;
};

const fixed = (number: number): string => number.toString(16).padStart(14, "0");
const eventKey = (group: number, order: number): string => `${EVENTS}${fixed(group)}${fixed(order)}`;
const attemptsKey = (group: number, order: number): string => `${ATTEMPTS}${fixed(group)}${fixed(order)}`;
const groupKey = (topic: string, name: string): string => `${GROUPS}${topic.length}:${topic}${name}`;

/** Topics as entries of the tree. */
export class TopicEntries {
  readonly #tree: Tree;

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  nextNumber(): number {
    return Number(this.#tree.nextVersion());
  }

  write(ops: WriteOp[], applied?: () => void): Promise<void> {
    return this.#tree.write(ops, applied);
  }

  group(topic: string, name: string, state: GroupState): WriteOp {
    return { key: groupKey(topic, name), value: Buffer.from(JSON.stringify(state)) };
  }

  event(group: number, order: number, value: Uint8Array): WriteOp {
    return { key: eventKey(group, order), value: Buffer.from(value) };
  }

  attempts(group: number, { order, attempts, dueMs }: Item): WriteOp {
    const value = Buffer.alloc(12);
    value.writeUInt32LE(attempts, 0);
    value.writeDoubleLE(dueMs, 4);
    return { key: attemptsKey(group, order), value };
  }

  /** The writes that remove an event. */
  done(group: number, { order, counted }: Item): WriteOp[] {
    const event = { key: eventKey(group, order), value: undefined };
    return counted > 0 ? [event, { key: attemptsKey(group, order), value: undefined }] : [event];
  }

  value(group: number, order: number): Uint8Array | undefined {
    const bytes = this.#tree.get(eventKey(group, order));
    return bytes && new Uint8Array(bytes);
  }

  /** Up to `most` events of the group after the key `past`; `after` is the key for the next call. */
  async events(
    group: number,
    past: string | undefined,
    most: number,
  ): Promise<{ items: Item[]; after: string | undefined }> {
    const prefix = EVENTS + fixed(group);
    const { entries, after } = await this.#tree.page(prefix, past, most);
    const items = entries.map(({ key, value }) => {
      const order = Number.parseInt(key.slice(prefix.length), 16);
      const counted = this.#tree.get(attemptsKey(group, order));
      return {
        order,
        attempts: counted?.readUInt32LE(0) ?? 0,
        counted: counted?.readUInt32LE(0) ?? 0,
        dueMs: counted?.readDoubleLE(4) ?? 0,
        bytes: value.length,
        value: new Uint8Array(value),
      };
    });
    return { items, after };
  }

  /** The key of the event with this order, for events(). */
  place(group: number, order: number): string {
    return eventKey(group, order);
  }

  async *groups(): AsyncGenerator<{ topic: string; name: string; state: GroupState }, void, undefined> {
    for await (const { key, value } of this.#tree.all(GROUPS)) {
      const colon = key.indexOf(":");
      const end = colon + 1 + Number(key.slice(GROUPS.length, colon));
      const state = JSON.parse(value.toString()) as GroupState;
      yield { topic: key.slice(colon + 1, end), name: key.slice(end), state };
    }
  }

  /** Removes the group, then its events. Returns how many there were. */
  async forget(topic: string, name: string, { id }: GroupState): Promise<number> {
    await this.#tree.write([
      { key: groupKey(topic, name), value: undefined },
      { key: FORGOTTEN + fixed(id), value: Buffer.from(JSON.stringify({ topic, name })) },
    ]);
    return this.#removeEvents(fixed(id));
  }

  /** Completes each forget() that the last process did not finish, with the number of events it removed. */
  async *removeForgotten(): AsyncGenerator<{ topic: string; name: string; events: number }, void, undefined> {
    for await (const { key, value } of this.#tree.all(FORGOTTEN)) {
      const { topic = "", name = "" } = value.length > 0 ? JSON.parse(value.toString()) : {};
      yield { topic, name, events: await this.#removeEvents(key.slice(FORGOTTEN.length)) };
    }
  }

  async #removeEvents(id: string): Promise<number> {
    let events = 0;
    for (const prefix of [EVENTS + id, ATTEMPTS + id]) {
      for (let past: string | undefined; ; ) {
        const { entries, after } = await this.#tree.page(prefix, past, PAGE_ENTRIES);
        if (entries.length > 0) await this.#tree.write(entries.map(({ key }) => ({ key, value: undefined })));
        if (prefix.startsWith(EVENTS)) events += entries.length;
        if (after === undefined) break;
        past = after;
      }
    }
    await this.#tree.write([{ key: FORGOTTEN + id, value: undefined }]);
    return events;
  }
}
