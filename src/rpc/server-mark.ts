import type { Transport } from "@connectrpc/connect";
import { SERVER_HEADER } from "./extension-headers/page.js";

/** Whether the answers of a transport had SERVER_HEADER. */
const marks = new WeakMap<Transport, boolean>();

/** Whether the server behind `transport` is a Fairlead server; undefined before its first answer. */
export const hasMark = (transport: Transport): boolean | undefined => marks.get(transport);

/** Remembers whether the headers of an answer are those of a Fairlead server. */
export const noteMark = (transport: Transport, headers: Headers): void =>
  void marks.set(transport, headers.has(SERVER_HEADER));
