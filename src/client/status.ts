/**
 * The connection of a subscription, an open configuration or another long-lived object to the server.
 *
 * - "connecting": the server has not answered yet.
 * - "connected": the server answers.
 * - "disconnected": the connection was lost or could not be made; the client reconnects by itself.
 * - "closed": it has ended, by close(), by leaving its loop, by its signal, or because the server refused it for good.
 *   No other state follows.
 */
export type ConnectionState = "connecting" | "connected" | "disconnected" | "closed";

/** A connection state, with the time and the reason of the change to it. */
export interface StatusChange {
  /** The state of the connection. */
  readonly current: ConnectionState;
  /** The time of the change to this state, in Unix milliseconds. */
  readonly sinceMs: number;
  /** The reason for "disconnected" or "closed"; undefined after a close on purpose, and in the other states. */
  readonly error: unknown;
}

/** The connection status of a long-lived object: readable at any time, with a stream of its changes. */
export interface Status extends StatusChange {
  /**
   * Every change from this call on; a reader that falls behind gets only the latest. Ends after "closed". Aborting
   * throws `Code.Canceled`.
   */
  changes(options?: { signal?: AbortSignal }): AsyncIterableIterator<StatusChange, undefined>;
}
