/**
 * How the HTTP headers of an invocation travel beside those of the call itself. A request header goes under its own
 * name, as every runtime forwards it; one whose name the call needs for itself goes with the prefix. An answer's
 * headers all come back with the prefix.
 */
export const HTTP_PREFIX = "fairlead-http-";

/** The response header with the status that the app answered. */
export const HTTP_STATUS = `${HTTP_PREFIX}status`;

/** Whether `name`, in lower case, belongs to the call, or to a browser that makes it, and not to what it carries. */
export const isReserved = (name: string): boolean => RESERVED.test(name) || isHopByHop(name);

const RESERVED =
  /^((connect|grpc|content|fairlead|sec|access-control|trailer)-.*|x-user-agent|x-grpc-web|accept-(encoding|charset)|user-agent|authorization|cookie|origin|referer|date|dnt|via|priority)$/;

/** Whether `name`, in lower case, is about one connection and its framing: it is never passed on. */
export const isHopByHop = (name: string): boolean => HOP_BY_HOP.has(name);

/**
 * Whether `name`, in lower case, is what proxies say of the caller and of its request: an app may trust it, so a caller
 * cannot say it itself.
 */
export const isFromProxy = (name: string): boolean => FROM_PROXY.test(name);

const FROM_PROXY =
  /^(forwarded|x-forwarded(-.*)?|x-real-ip|x-original-(url|host|forwarded-for)|x-rewrite-url)$/;

/** A cookie of an app as one of several in a header: Headers joins them with commas, which a cookie may have too. */
export const escapeCookie = (cookie: string): string => cookie.replace(/[%,]/g, encodeURIComponent);

/** What escapeCookie() was given, of each cookie in what Headers joined. */
export const cookiesIn = (joined: string): string[] =>
  joined.split(/, */).map((cookie) => cookie.replace(/%2[5C]/g, decodeURIComponent));

const HOP_BY_HOP = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
