import { type HeaderList, NO_HEADERS } from "./frame.js";

export function toHeaderList(header: HeadersInit | undefined): HeaderList {
  if (header === undefined) return NO_HEADERS;
  const list: [string, string][] = [];
  (header instanceof Headers ? header : new Headers(header)).forEach((value, name) => {
    list.push([name, value]);
  });
  return list;
}

export const toHeaders = (list?: HeaderList): Headers => new Headers(list as [string, string][]);
