/**
 * The URL of a server as every transport takes it: http or https, with the base path of a reverse proxy where it has
 * one, without slashes at its end. A browser also takes a path alone, on the page's own origin. Fails with a TypeError
 * that names what was given.
 */
export function baseUrlOf(given: unknown): string {
  if (typeof given === "string") {
    try {
      const { location } = globalThis as { location?: { href: string } };
      const { href } = new URL(given, given[0] === "/" ? location?.href : undefined);
      if (/^https?:\/\/[^/?#@]+\/[^?#]*$/.test(href)) return href.replace(/\/+$/, "");
    } catch {}
  }
  // A password is not for a log.
  const shown =
    typeof given === "string" ? JSON.stringify(given.replace(/\/\/.*@/, "//…@").slice(0, 99)) : typeof given;
  throw new TypeError(
    `Cannot connect: the URL must be like "http://localhost:34904" or "https://example.com/base", without credentials, query and fragment, got ${shown}`,
  );
}
