/** What JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/**
 * What a client is asked to do, in the words of its own API, against the store, map, topic, service or component that has
 * the scenario's id for a name. What it is to report is told at each.
 */
export type Operation =
  /** `{ text, etag }`, null where there is no entry. `timeoutMs` is the deadline of the call. */
  | { call: "state.get"; key: string; timeoutMs?: number }
  /** `{ entries: { key: { text, etag } }, errors: [key] }`. */
  | { call: "state.getMany"; keys: readonly string[] }
  /** null. `etag` is the condition; without it there is none. */
  | { call: "state.set"; key: string; text: string; etag?: string }
  /** null. */
  | { call: "state.delete"; key: string; etag?: string }
  /** null. Each step writes `text`, or deletes where there is none. */
  | { call: "state.transaction"; steps: readonly { key: string; text?: string; etag?: string }[] }
  /** null. Reads the entry and writes its text with `add` behind it, over nothing but what was read. */
  | { call: "state.update"; key: string; add: string }
  /** `{ granted, fence }`: the fence in decimal, null where none is told. Asks `times` (default 1) one after the other, and reports the last. */
  | { call: "lock.tryAcquire"; resource: string; ttlSeconds: number; times?: number }
  /** Takes the lock, then gives it up: whether it had been held until then. */
  | { call: "lock.release"; resource: string; ttlSeconds: number }
  /** Takes the lock and holds it for `forMs`: "held", or "lost" as soon as it does not count as held any more. */
  | { call: "lock.hold"; resource: string; ttlSeconds: number; forMs: number }
  /** The next `count` ids in decimal, by the client's way to take many where it has one. */
  | { call: "sequencer.take"; key: string; count: number; strong?: boolean }
  /** The text of the file, null where there is none. With a range: of these bytes. */
  | { call: "files.get"; name: string; offset?: number; length?: number }
  /** Begins to read and leaves after the first piece: its text. */
  | { call: "files.getFirst"; name: string }
  /** `{ size, modifiedAt }`, the time as `toISOString()` has it, null where it cannot be read; null where there is no file. */
  | { call: "files.stat"; name: string }
  /** The names. */
  | { call: "files.list"; prefix: string }
  /** null. */
  | { call: "files.put"; name: string; text: string }
  /** Whether it was there. */
  | { call: "files.delete"; name: string }
  /** `{ key: content }` of the items that have a value. */
  | { call: "configuration.get"; keys: readonly string[] }
  /**
   * Follows `keys` until their values are `until`, for `forMs` at most, and stops: the values then. A client that reads
   * them now and then does so every `pollMs`.
   */
  | {
      call: "configuration.follow";
      keys: readonly string[];
      until: Readonly<Record<string, string>>;
      pollMs: number;
      forMs: number;
    }
  /** null. `json` is published as JSON, `text` as plain text. */
  | { call: "pubsub.publish"; topic: string; text?: string; json?: Json }
  /** Takes `answers.length` events, answers each so, and leaves: their ids. */
  | { call: "pubsub.consume"; topic: string; answers: readonly ("ack" | "retry" | "drop")[] }
  /** As above, but reports the data: JSON as it is, all else as text. */
  | { call: "pubsub.consumeData"; topic: string; count: number }
  /** `{ text, version }`, null where there is no entry. The version in decimal. */
  | { call: "map.get"; key: string; partitions?: number }
  /** The new version. `ifVersion` is the condition. */
  | { call: "map.put"; key: string; text: string; ifVersion?: string }
  /** The entry that was there, as of map.get. */
  | { call: "map.remove"; key: string; ifVersion?: string }
  /** The offsets `[first, last]`, null each where they are not told. */
  | { call: "log.append"; texts: readonly string[] }
  /** `count` records from `from` on, then leaves: `[{ offset, text, atMs }]`. */
  | { call: "log.read"; from: string; count: number }
  /** The parts of the secret, `{ name: value }`; null where there is none. */
  | { call: "secrets.get"; name: string }
  /** `{ secret: { name: value } }`. */
  | { call: "secrets.getAll" }
  /** `{ text, metadata }`. */
  | { call: "bindings.invoke"; operation: string; text: string }
  /** `{ status, text, contentType }`: what the app answered. */
  | { call: "service.fetch"; path: string; verb: "GET" | "POST"; text?: string }
  /** The greeting. */
  | { call: "hello.say"; to: string }
  /** null. */
  | { call: "lifecycle.apply"; kind: string; metadata: Readonly<Record<string, string>> };

/** What a client saw: `value` where the operation went well, `code` where it failed, as Connect writes it: "not_found". */
export interface Observation {
  /** As the operation says. Of one that failed: null, or left out. */
  value?: Json;
  /** The name of the error's code. Left out where it went well. */
  code?: string;
  /** The text of the error. */
  message?: string;
}
