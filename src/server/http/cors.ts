import { cors } from "@connectrpc/connect";
import { z } from "zod";

/** How long a browser may cache the response to a preflight, in seconds. */
const MAX_AGE_S = 7200;

/** The request headers of Connect and Fairlead. Those of an invocation come on top, as the preflight names them. */
const REQUEST_HEADERS = [
  ...cors.allowedHeaders,
  "Authorization",
  "Fairlead-App-Id",
  "Fairlead-Fence",
  "Fairlead-If-Absent",
  "Fairlead-Initial",
  "Fairlead-Log",
  "Fairlead-Follow",
  "Fairlead-From-Time",
  "Fairlead-Heartbeat-Ms",
].map((header) => header.toLowerCase());

/** Pages of this machine, on any port: a developer's own. Other pages must be named. */
const LOOPBACK = ["http", "https"].flatMap((scheme) =>
  ["localhost", "127.0.0.1", "[::1]"].map((host) => `${scheme}://${host}:*`),
);

const origin = z.string("must be text").superRefine((text, context) => {
  const message = problemOf(text);
  if (message) context.addIssue({ code: "custom", message });
});

/** The settings of CORS. */
export const corsSettings = z
  .strictObject({
    origins: z
      .array(origin)
      .default(LOOPBACK)
      .describe(
        'Origins as browsers send them, like "https://app.example", "https://*.app.example" or "http://localhost:*"; ' +
          '"*" is every page of the web. Default: the pages of this machine.',
      ),
    credentials: z
      .boolean()
      .default(false)
      .describe(
        "Whether those pages may send cookies and other credentials of the browser along, for what stands in front " +
          'of the server: not together with "*". Default: false.',
      ),
  })
  .superRefine(({ origins, credentials }, context) => {
    if (!credentials || !origins.includes("*")) return;
    const message =
      'must be false where origins has "*", as any page could then act as its visitor: name the origins';
    context.addIssue({ code: "custom", path: ["credentials"], message });
  })
  .describe("Which pages of other origins a browser lets call this server.");

/** The CORS headers for requests by their `Origin` header, null or undefined if they have none. */
export interface Cors {
  /** Whether a page of this origin may call. The origin "null" may only if every page may. */
  allows(origin: string): boolean;
  /** The headers of every response that is not one to a preflight. */
  answer(origin: string | null | undefined): Readonly<Record<string, string>>;
  /** The headers of the response to a preflight, which lists the headers `requested`. */
  preflight(origin: string | null | undefined, requested: string | null | undefined): Record<string, string>;
  /**
   * The header that exposes all headers of a response, once their names are known. Undefined: answer() exposes them by
   * "*", which has no effect if credentials are allowed.
   */
  readonly expose: ((names: Iterable<string>) => Record<string, string>) | undefined;
}

/** Creates the CORS headers of the settings. Pages of other origins get none: browsers hide the response from them. */
export function createCors({ origins, credentials }: z.output<typeof corsSettings>): Cors {
  const everyone = origins.includes("*");
  const patterns = origins.map(patternOf);
  // With a list, a cache must not hand the response for one page to another; with "*", all get the same headers.
  const vary = everyone ? [] : ["origin"];
  const allows = (origin: string) => patterns.some((pattern) => pattern.test(origin));
  const allowed = (origin: string | null | undefined): Record<string, string> => {
    if (everyone) return { "access-control-allow-origin": "*" };
    if (!origin || !allows(origin)) return {};
    return {
      "access-control-allow-origin": origin,
      ...(credentials && { "access-control-allow-credentials": "true" }),
    };
  };
  const varying = (...more: string[]): Record<string, string> => {
    const names = [...vary, ...more];
    return names.length > 0 ? { vary: names.join(", ") } : {};
  };
  const withoutOrigin = varying();
  const expose = (names: Iterable<string>) => ({
    "access-control-expose-headers": [...names].sort().join(", "),
  });
  return {
    allows,
    expose: credentials ? expose : undefined,
    answer(origin) {
      if (!origin && !everyone) return withoutOrigin;
      const headers = allowed(origin);
      // The names of response headers are not known beforehand: invoked services have their own, and so have trailers.
      if (headers["access-control-allow-origin"] && !credentials)
        headers["access-control-expose-headers"] = "*";
      return { ...headers, ...varying() };
    },
    preflight(origin, requested) {
      const headers = allowed(origin);
      if (headers["access-control-allow-origin"]) {
        const names = requested?.split(",").map((name) => name.trim().toLowerCase()) ?? [];
        const wanted = new Set([...REQUEST_HEADERS, ...names.filter((name) => HEADER_NAME.test(name))]);
        headers["access-control-allow-methods"] = cors.allowedMethods.join(", ");
        headers["access-control-allow-headers"] = [...wanted].join(", ");
        headers["access-control-max-age"] = String(MAX_AGE_S);
      }
      return { ...headers, ...varying("access-control-request-headers") };
    },
  };
}

/** Adds to a response's complete headers those for a page of `origin`. */
export function addCorsHeaders(headers: Headers, cors: Cors, origin: string | null): void {
  for (const [name, value] of Object.entries(cors.answer(origin))) headers.append(name, value);
  addExposedHeaders(headers, cors);
}

/** Exposes all `headers` of a response by their names, if the page may read it and "*" does not do that. */
export function addExposedHeaders(headers: Headers, { expose }: Cors): void {
  if (!expose || !headers.has("access-control-allow-origin")) return;
  for (const [name, value] of Object.entries(expose(headers.keys()))) headers.set(name, value);
}

const HEADER_NAME = /^[\w!#$%&'*+.^`|~-]+$/;

/** A scheme, an optional "*.", a host, and an optional port or "*". */
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/(\*\.)?([a-z0-9._-]+|\[[0-9a-f:]+\])(:(\d{1,5}|\*))?$/;

/** The reason why one of `origins` is not valid; undefined: it is valid. */
function problemOf(text: string): string | undefined {
  if (text === "*") return undefined;
  const parts = ORIGIN.exec(text);
  if (!parts) {
    return (
      'must be "*" or an origin without a path, like "https://app.example", ' +
      '"https://*.app.example" or "http://localhost:*"'
    );
  }
  const [, scheme, , , , port] = parts;
  const usual = { http: "80", https: "443" }[scheme ?? ""];
  return port !== undefined && port === usual
    ? `must not name port ${port}: browsers leave it out`
    : undefined;
}

function patternOf(text: string): RegExp {
  if (text === "*") return /^/;
  const escaped = text.replace(/[.[\]+]/g, "\\$&");
  const host = escaped.replace("://*\\.", "://(?:[^./:]+\\.)+");
  return new RegExp(`^${host.replace(/:\*$/, "(?::\\d+)?")}$`);
}
