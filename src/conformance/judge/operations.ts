/** A JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/**
 * A task for a client, in terms of its own API, on the store, map, topic, service or component whose name is the
 * scenario's id. Each comment says what to report.
 *
 */
export type ScenarioOperation =
  /** `{ text, etag }`, null if there is no entry. `timeoutMs` is the deadline of the call. */
  | { call: "state.get"; key: string; timeoutMs?: number }
  /** `{ entries: { key: { text, etag } }, errors: [key] }`. */
  | { call: "state.getMany"; keys: readonly string[] }
  /** null. `etag` is the condition, if there is one. */
  | { call: "state.set"; key: string; text: string; etag?: string }
  /** null. */
  | { call: "state.delete"; key: string; etag?: string }
  /** null. Each step writes `text`, or deletes if there is none. */
  | { call: "state.transaction"; steps: readonly { key: string; text?: string; etag?: string }[] }
  /** null. Reads the entry, appends `add` to its text and writes that on condition of the etag that was read. */
  | { call: "state.update"; key: string; add: string }
  /**
   * `{ granted, fence }`: the fence in decimal, or null. Tries `times` times (default 1) in a row and reports the last.
   */
  | { call: "lock.tryAcquire"; resource: string; ttlSeconds: number; times?: number }
  /** Whether the lock was still held when the client released it. Acquires it first. */
  | { call: "lock.release"; resource: string; ttlSeconds: number }
  /** "held", or "lost" as soon as the lock is lost. Acquires the lock and holds it for `forMs`. */
  | { call: "lock.hold"; resource: string; ttlSeconds: number; forMs: number }
  /** The next `count` ids in decimal, requested in blocks if the client can do that. */
  | { call: "sequencer.take"; key: string; count: number; strong?: boolean }
  /** The text of the file or of the range, null if there is no file. */
  | { call: "files.get"; name: string; offset?: number; length?: number }
  /** The text of the first chunk. Stops reading after it. */
  | { call: "files.getFirst"; name: string }
  /**
   * `{ size, modifiedAt }`, or null if there is no file. The time is in the form of toISOString(), or null if unknown.
   */
  | { call: "files.stat"; name: string }
  /** The names. */
  | { call: "files.list"; prefix: string }
  /** null. */
  | { call: "files.put"; name: string; text: string }
  /** Whether the file existed. */
  | { call: "files.delete"; name: string }
  /** `{ key: content }` of the items that have a value. */
  | { call: "configuration.get"; keys: readonly string[] }
  /**
   * The values after following `keys` until the values are `until`, for `forMs` at most. A client that polls does so
   * every `pollMs`.
   *
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
  /** The ids of `answers.length` events. Answers each event so, then unsubscribes. */
  | { call: "pubsub.consume"; topic: string; answers: readonly ("ack" | "retry" | "drop")[] }
  /** The data of `count` events: JSON as it is, anything else as text. Acknowledges each, then unsubscribes. */
  | { call: "pubsub.consumeData"; topic: string; count: number }
  /** `{ text, version }`, null if there is no entry. The version is in decimal. */
  | { call: "map.get"; key: string; partitions?: number }
  /** The new version. `ifVersion` is the condition. */
  | { call: "map.put"; key: string; text: string; ifVersion?: string }
  /** The removed entry, as for map.get. */
  | { call: "map.remove"; key: string; ifVersion?: string }
  /** The offsets `[first, last]`; each is null if unknown. */
  | { call: "log.append"; texts: readonly string[] }
  /** `[{ offset, text, atMs }]`: `count` records starting at `from`. Then stops reading. */
  | { call: "log.read"; from: string; count: number }
  /** The parts of the secret, `{ name: value }`; null if there is none. */
  | { call: "secrets.get"; name: string }
  /** `{ secret: { name: value } }`. */
  | { call: "secrets.getAll" }
  /** `{ text, metadata }`. */
  | { call: "bindings.invoke"; operation: string; text: string }
  /** `{ status, text, contentType }` of the app's response. */
  | { call: "service.fetch"; path: string; verb: "GET" | "POST"; text?: string }
  /** The greeting. */
  | { call: "hello.say"; to: string }
  /** null. */
  | { call: "lifecycle.apply"; kind: string; metadata: Readonly<Record<string, string>> };

/** The client's report: `value` if the operation succeeded, or `code` in Connect's spelling, such as "not_found". */
export interface Observation {
  /** As the operation specifies. Null or left out if the operation failed. */
  value?: Json;
  /** The name of the error's code. Left out if the operation succeeded. */
  code?: string;
  /** The text of the error. */
  message?: string;
}
