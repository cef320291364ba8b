// How the HTTP headers of an invocation travel beside those of the call itself. A request header has its own name, as
// every runtime forwards it, unless the call needs that name for itself: then it has HTTP_PREFIX in front. All headers
// of
// an answer have the prefix.

/**
 * Whether the header `name`, in lower case, belongs to the call or to the browser that makes it, not to the invocation.
 */
export const isReserved = (name: string): boolean =>
  RESERVED_PREFIX.test(name) || RESERVED_NAMES.has(name) || isHopByHop(name);

const RESERVED_PREFIX = /^(connect|grpc|content|fairlead|sec|access-control|trailer)-/;

const RESERVED_NAMES = new Set([
  "x-user-agent",
  "x-grpc-web",
  "accept-encoding",
  "accept-charset",
  "user-agent",
  "authorization",
  "cookie",
  "origin",
  "referer",
  "date",
  "dnt",
  "via",
  "priority",
]);

/** Whether the header `name`, in lower case, is about one connection or its framing. It is never passed on. */
export const isHopByHop = (name: string): boolean => HOP_BY_HOP.has(name);

/**
 * Whether the header `name`, in lower case, is one by which proxies describe the caller and its request. Apps may trust
 * it, so callers must not set it.
 */
export const isFromProxy = (name: string): boolean => FROM_PROXY.test(name);

const FROM_PROXY =
  /^(forwarded|x-forwarded(-.*)?|x-real-ip|x-original-(url|host|forwarded-for)|x-rewrite-url)$/;

/** Escapes the commas of a cookie: Headers joins several cookies with commas. */
export const escapeCookie = (cookie: string): string => cookie.replace(/[%,]/g, encodeURIComponent);

/** The cookies in a header that Headers joined, without the escapes of escapeCookie(). */
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
