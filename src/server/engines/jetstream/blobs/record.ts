import { fromUtf8, utf8 } from "../../../../lib/utf8.js";
import type { BlobInfo } from "../../../engine.js";
import type { StoredMessage } from "../direct-get.js";

/** Where the bytes of a blob are: in the message with its metadata, or in messages of their own. */
export type BlobContent =
  | { type: "inline"; data: Uint8Array }
  | { type: "chunks"; id: string; chunkBytes: number };

/** The payload of the message on a blob's subject. */
export interface BlobRecord {
  info: BlobInfo;
  content: BlobContent;
}

/** A blob as it is stored. */
export interface StoredBlob extends BlobRecord {
  /** The sequence of its message. All chunks are before it. */
  sequence: number;
}

const LENGTH_BYTES = 4;

/** The payload of the message: the length of the JSON, the JSON, and the bytes of a small blob. */
export function encodeRecord({ info, content }: BlobRecord): Uint8Array {
  const { type } = content;
  const json = utf8(JSON.stringify({ info, content: type === "inline" ? { type } : content }));
  const inline = type === "inline" ? content.data : new Uint8Array(0);
  const data = new Uint8Array(LENGTH_BYTES + json.length + inline.length);
  new DataView(data.buffer).setUint32(0, json.length);
  data.set(json, LENGTH_BYTES);
  data.set(inline, LENGTH_BYTES + json.length);
  return data;
}

/** The blob of a message; undefined if there is no message, or an empty one, which says that the blob was deleted. */
export function decodeRecord(message: StoredMessage | undefined): StoredBlob | undefined {
  if (!message || message.data.length === 0) return undefined;
  const { data, sequence } = message;
  const end = LENGTH_BYTES + new DataView(data.buffer, data.byteOffset).getUint32(0);
  const { info, content } = JSON.parse(fromUtf8(data.subarray(LENGTH_BYTES, end))) as BlobRecord;
  return {
    sequence,
    info,
    content: content.type === "inline" ? { type: "inline", data: data.subarray(end) } : content,
  };
}
