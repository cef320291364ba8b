/**
 * The normalized URL of a server: http or https, with a base path if it is behind a reverse proxy, without slashes at
 * the end. In a browser it may be a path on the page's origin. Throws TypeError for anything else.
 */
export function baseUrlOf(given: unknown): string {
  if (typeof given === "string") {
    try {
      const { location } = globalThis as { location?: { href: string } };
      const { href } = new URL(given, given[0] === "/" ? location?.href : undefined);
      if (/^https?:\/\/[^/?#@]+\/[^?#]*$/.test(href)) return href.replace(/\/+$/, "");
    } catch {}
  }
  // Without the credentials, since error messages are logged.
  const quoted =
    typeof given === "string" ? JSON.stringify(given.replace(/\/\/.*@/, "//…@").slice(0, 99)) : typeof given;
  throw new TypeError(
    'Cannot connect: the URL must be like "http://localhost:34904" or "https://example.com/base", ' +
      `without credentials, query and fragment, got ${quoted}`,
  );
}
