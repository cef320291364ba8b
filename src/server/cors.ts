import { cors } from "@connectrpc/connect";

/** How long a browser may keep the answer to a preflight, in seconds. */
const MAX_AGE_S = 7200;

/** The request headers of our own; what an app sends along with an invocation comes on top, as the preflight names it. */
const REQUEST_HEADERS = [
  ...cors.allowedHeaders,
  "Authorization",
  "Fairlead-App-Id",
  "Fairlead-Fence",
  "Fairlead-If-Absent",
  "Fairlead-Log",
  "Fairlead-Follow",
  "Fairlead-From-Time",
];

/** Every header of a CORS answer, for a request from `origin` that wants to send `requested`. */
export function corsHeaders(origin: string, requested: string | null): Record<string, string> {
  const headers = new Set(REQUEST_HEADERS.map((header) => header.toLowerCase()));
  for (const header of requested?.split(",") ?? []) headers.add(header.trim().toLowerCase());
  return {
    "access-control-allow-origin": origin,
    "access-control-allow-methods": cors.allowedMethods.join(", "),
    "access-control-allow-headers": [...headers].join(", "),
    // Response headers have names that are not known beforehand: those of an invoked service, and every trailer.
    "access-control-expose-headers": "*",
    "access-control-max-age": String(MAX_AGE_S),
    vary: "origin",
  };
}

/** The answer to a browser that asks what it may send. */
export function preflight(request: Request): Response {
  const origin = request.headers.get("origin");
  const headers = origin ? corsHeaders(origin, request.headers.get("access-control-request-headers")) : {};
  return new Response(null, { status: 204, headers });
}

/** `response`, readable by the page that asked. */
export function allowOrigin(request: Request, response: Response): Response {
  const origin = request.headers.get("origin");
  if (!origin) return response;
  for (const [name, value] of Object.entries(corsHeaders(origin, null))) response.headers.set(name, value);
  return response;
}
