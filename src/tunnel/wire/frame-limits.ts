import { Code } from "@connectrpc/connect";
import { type CallStatus, type HeaderList, MAX_DETAILS } from "./frame.js";

/** How much of a frame header lists may have, a status's text (in characters, of three bytes at most) and its details. */
const MOST_HEADER_BYTES = 128 * 1024;
const MOST_TEXT = 8 * 1024;
const MOST_DETAIL_BYTES = 96 * 1024;

/** What is answered in the place of a header list that the other end, which takes `mostBytes`, would close the socket for. */
export function checkHeaderSize(what: string, list: HeaderList, mostBytes: number): CallStatus | undefined {
  const most = Math.min(mostBytes, MOST_HEADER_BYTES);
  const bytes = sizeOf(list);
  if (bytes <= most) return undefined;
  const text = `the ${what} have ${bytes} bytes: the other end takes at most ${most}`;
  return { code: Code.ResourceExhausted, text, details: [], trailers: [] };
}

/** A status as a frame can carry it: what would be too much loses its details, and then the end of its text. */
export function fitStatus(status: CallStatus): CallStatus {
  const { text, details } = status;
  let bytes = 0;
  for (const { type, value } of details) bytes += type.length * 3 + value.length + 8;
  const fits = details.length <= MAX_DETAILS && bytes <= MOST_DETAIL_BYTES;
  if (fits && text.length <= MOST_TEXT) return status;
  return { ...status, text: text.slice(0, MOST_TEXT), details: fits ? details : [] };
}

/** About as many bytes as the list takes in a frame, and never fewer. */
function sizeOf(header: HeaderList): number {
  let bytes = 0;
  for (const [name, value] of header) bytes += name.length + value.length + 8;
  return bytes;
}
