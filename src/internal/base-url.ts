/**
 * The URL of a server as every transport takes it: http or https, with the base path of a reverse proxy where it has
 * one, without slashes at its end. A browser also takes a path alone, on the page's own origin. Fails with a TypeError
 * that names what was given.
 */
export function baseUrlOf(given: unknown): string {
  if (typeof given === "string" && given !== "") {
    const here = (globalThis as { location?: { href?: string } }).location?.href;
    const at = parsed(given, given[0] === "/" ? here : undefined);
    if (at && /^https?:$/.test(at.protocol) && !at.username && !at.password && !/[?#]/.test(given)) {
      return at.href.replace(/\/+$/, "");
    }
  }
  // A password is not for a log.
  const shown =
    typeof given === "string" ? JSON.stringify(given.replace(/\/\/.*@/, "//…@").slice(0, 99)) : typeof given;
  throw new TypeError(
    `Cannot connect: the URL must be like "http://localhost:34904" or "https://example.com/base", without credentials, query and fragment, got ${shown}`,
  );
}

function parsed(url: string, base?: string): URL | undefined {
  try {
    return new URL(url, base);
  } catch {
    return undefined;
  }
}
