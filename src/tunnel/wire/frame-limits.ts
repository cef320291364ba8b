import { Code } from "@connectrpc/connect";
import { type CallStatus, type HeaderList, MAX_DETAILS } from "./frame.js";

/** The shares of a frame: bytes of a header list, characters of a status text (up to three bytes each), details. */
const MAX_HEADER_BYTES = 128 * 1024;
const MAX_TEXT_LENGTH = 8 * 1024;
const MAX_DETAIL_BYTES = 96 * 1024;

/** The status to answer if the other end, which accepts `maxBytes`, would close the socket for such a header list. */
export function checkHeaderSize(noun: string, list: HeaderList, maxBytes: number): CallStatus | undefined {
  const max = Math.min(maxBytes, MAX_HEADER_BYTES);
  const bytes = headerListBytes(list);
  if (bytes <= max) return undefined;
  const text = `the ${noun} have ${bytes} bytes: the other end takes at most ${max}`;
  return { code: Code.ResourceExhausted, text, details: [], trailers: [] };
}

/** Makes a status fit into one frame: drops details that are too large, and truncates the text. */
export function fitStatus(status: CallStatus): CallStatus {
  const { text, details } = status;
  let bytes = 0;
  for (const { type, value } of details) bytes += type.length * 3 + value.length + 8;
  const doDetailsFit = details.length <= MAX_DETAILS && bytes <= MAX_DETAIL_BYTES;
  if (doDetailsFit && text.length <= MAX_TEXT_LENGTH) return status;
  return { ...status, text: text.slice(0, MAX_TEXT_LENGTH), details: doDetailsFit ? details : [] };
}

/** An upper bound of the bytes that the list takes in a frame. */
function headerListBytes(header: HeaderList): number {
  let bytes = 0;
  for (const [name, value] of header) bytes += name.length + value.length + 8;
  return bytes;
}
