/** A header of a message: its name and its value. */
export type Header = readonly [name: string, value: string];

/** A message to publish. */
export interface StreamMessage {
  subject: string;
  data: Uint8Array;
  headers: readonly Header[];
}

/** Where a published message, or the last message of a batch, was stored. */
export interface StoredAt {
  sequence: number;
}

/** The acknowledgement of a publish. */
export interface PubAck {
  stream: string;
  seq: number;
  duplicate?: boolean;
}
