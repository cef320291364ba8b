import type { Transport } from "@connectrpc/connect";
import { SERVER_HEADER } from "./extension-headers/page.js";

/** Whether answers that came by a transport had the header `fairlead-server`, by which a server says what it is. */
const marks = new WeakMap<Transport, boolean>();

/** Whether a Fairlead server answers by `transport`; undefined before its first answer. */
export const hasMark = (transport: Transport): boolean | undefined => marks.get(transport);

/** Learns from the headers of an answer. */
export const noteMark = (transport: Transport, headers: Headers): void =>
  void marks.set(transport, headers.has(SERVER_HEADER));
