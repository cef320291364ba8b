import type { Transport } from "@connectrpc/connect";
import type { GossipMapService } from "../../../gen/atomix/map/map_pb.js";
import { checkType } from "../../lib/checks.js";
import { asyncDispose } from "../../lib/dispose.js";
import { quote } from "../../lib/quote.js";
import { randomId } from "../../lib/random-id.js";
import type { Coding } from "../codec.js";
import { joinGossipMap } from "../gossip-map/replica-map.js";
import type { GossipChange, GossipMap } from "../gossip-map.js";
import type { Presence, PresenceChange, PresenceMember, PresenceOptions } from "../presence.js";

/** Opens the presence of openPresence(). */
export async function joinPresence<S extends object>(
  transport: Transport,
  service: typeof GossipMapService,
  name: string,
  options: PresenceOptions<S> & Coding<S>,
): Promise<Presence<S>> {
  const failure = `Cannot open presence ${quote(name)}`;
  checkType(failure, "options", "object", options);
  const { state = {} as S, memberId = randomId(), ...settings } = options;
  checkType(failure, "state", "object", state);
  const map = await joinGossipMap<S>(transport, service, name, {
    namespace: "presence",
    ...settings,
    memberId,
  });
  const room = new Room(map, state);
  try {
    room.set({});
    return room;
  } catch (error) {
    await map.close();
    throw error;
  }
}

/** A presence: a gossip map with an ephemeral entry for each member, by its id. */
class Room<S extends object> implements Presence<S> {
  readonly #map: GossipMap<S>;
  readonly #listeners = new Set<() => void>();
  #state: S;
  /** Undefined after a change, until it is read. */
  #members: readonly PresenceMember<S>[] | undefined;
  /** The members by their states, so that each is the same object until its state changes. */
  readonly #known = new WeakMap<S, PresenceMember<S>>();

  constructor(map: GossipMap<S>, state: S) {
    this.#map = map;
    this.#state = state;
    void this.#follow(map.changes());
  }

  get name() {
    return this.#map.name;
  }

  get memberId() {
    return this.#map.memberId;
  }

  get status() {
    return this.#map.status;
  }

  get members(): readonly PresenceMember<S>[] {
    return (this.#members ??= [...this.#map].flatMap(([id, state]) => this.#memberOf(id, state) ?? []));
  }

  get current() {
    return this.members;
  }

  subscribe(listener: () => void): () => void {
    // A function of its own, so that one listener can be subscribed twice.
    const notify = () => listener();
    this.#listeners.add(notify);
    return () => void this.#listeners.delete(notify);
  }

  set(state: Partial<S>): void {
    checkType(`Cannot set the state in presence ${quote(this.name)}`, "state", "object", state);
    const next = { ...this.#state, ...state };
    this.#map.set(this.memberId, next, { ephemeral: true });
    this.#state = next;
    this.#changed();
  }

  changes(options?: {
    signal?: AbortSignal;
  }): AsyncIterableIterator<PresenceChange<S>, undefined, undefined> {
    const changes = this.#map.changes(options);
    const iterator: AsyncIterableIterator<PresenceChange<S>, undefined, undefined> = {
      next: async () => {
        for (;;) {
          const step = await changes.next();
          if (step.done) return step;
          const value = this.#changeOf(step.value);
          if (value) return { done: false, value };
        }
      },
      return: async () => {
        await changes.return?.();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  async close(): Promise<void> {
    await this.#map.close();
    this.#changed();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  async #follow(changes: AsyncIterable<GossipChange<S>>): Promise<void> {
    try {
      for await (const _ of changes) this.#changed();
    } catch {
      // The status and changes() tell why the server has refused this member.
    }
  }

  #changed(): void {
    this.#members = undefined;
    for (const notify of this.#listeners) notify();
  }

  /** Undefined if the state cannot be decoded. */
  #changeOf(change: GossipChange<S>): PresenceChange<S> | undefined {
    const { key, type } = change;
    const state = type === "remove" ? change.previous : valueIn(change);
    const member = state && this.#memberOf(key, state);
    return member && { type: TYPES[type], member };
  }

  /** Undefined if another program has written something else than an object. */
  #memberOf(id: string, state: S): PresenceMember<S> | undefined {
    if (typeof state !== "object" || state === null) return undefined;
    let member = this.#known.get(state);
    if (!member) this.#known.set(state, (member = { id, state, isSelf: id === this.memberId }));
    return member;
  }
}

const TYPES = { insert: "join", update: "update", remove: "leave" } as const;

/** The value of a change; undefined if the codec cannot decode it. */
function valueIn<S>(change: { value: S }): S | undefined {
  try {
    return change.value;
  } catch {
    return undefined;
  }
}
