/**
 * Whether the query of `url`, which has the message of a GET, has percent-encoded bytes that are not UTF-8. URL would
 * replace them by U+FFFD.
 */
export function hasMalformedQuery(url: string): boolean {
  try {
    decodeURIComponent(url.slice(url.indexOf("?") + 1).replace(/%(?![0-9a-f]{2})/gi, "%25"));
    return false;
  } catch {
    return true;
  }
}
