import type { HeaderList } from "./frame.js";

const NONE: HeaderList = [];

/** Headers as a frame carries them. */
export function toHeaderList(header: HeadersInit | undefined): HeaderList {
  if (header === undefined) return NONE;
  const list: [string, string][] = [];
  (header instanceof Headers ? header : new Headers(header)).forEach((value, name) => {
    list.push([name, value]);
  });
  return list;
}

export const toHeaders = (list: HeaderList): Headers => new Headers(list as [string, string][]);
