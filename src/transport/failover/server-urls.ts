import { baseUrlOf } from "../../lib/base-url.js";
import type { ServerUrls } from "../tunnel.js";

/**
 * The normalized URLs of one server, or of several that can stand in for each other. Throws TypeError if one is
 * malformed or occurs twice, or if there is none.
 */
export function serverUrls(given: unknown): ServerUrls {
  const urls = [given].flat().map((url) => baseUrlOf(url));
  checkServerUrls(urls);
  return urls;
}

/** Throws TypeError if one of the normalized URLs occurs twice, or there is none. */
export function checkServerUrls(urls: readonly string[]): asserts urls is ServerUrls {
  if (urls.length === 0)
    throw new TypeError("Cannot connect: the list of URLs must have one or more, got []");
  const twice = urls.find((url, at) => urls.indexOf(url) < at);
  if (twice !== undefined) {
    throw new TypeError(`Cannot connect: the list of URLs must have each once, got "${twice}" twice`);
  }
}
