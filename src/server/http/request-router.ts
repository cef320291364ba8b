import { createAsyncIterable, type UniversalServerResponse } from "@connectrpc/connect/protocol";
import { utf8 } from "../../lib/utf8.js";
import { addCorsHeaders, type Cors } from "./cors.js";
import { type HostCheck, type HostRefusal, refusedByHost } from "./host-check.js";
import { PAGE_METHODS, type ServerPage, type ServerPages } from "./pages.js";

/** The head of a request, by whichever entry point it came. */
export interface HttpRequestHead {
  readonly method: string;
  /** The path of the URL, without its query. */
  readonly path: string;
  /** The `Host` header, or `:authority` of HTTP/2. */
  readonly host: string | undefined;
  /** The value of a request header; null if the request has none of that name (in lower case). */
  header(name: string): string | null;
}

/** How to answer a request. */
export type Route =
  /** With this response: a refusal, a preflight or a page. Never rejects. */
  | { readonly type: "response"; readonly response: Promise<UniversalServerResponse> }
  /** By a call, or by a page of the user's own; `headers` belong in its response. */
  | { readonly type: "call"; readonly headers: Readonly<Record<string, string>> };

export interface RequestRouterOptions {
  readonly check: HostCheck;
  readonly cors: Cors;
  readonly pages: ServerPages;
}

/**
 * Makes the decision that is common to all HTTP entry points, from the head of a request alone: refused for its host or
 * origin, a preflight, a page of the server, or a call.
 */
export function createRequestRouter({
  check,
  cors,
  pages,
}: RequestRouterOptions): (request: HttpRequestHead) => Route {
  return (request) => {
    const origin = request.header("origin");
    const isPreflight = request.method === "OPTIONS";
    const refusal = check({ host: request.host, origin, isPreflight });
    const page = pages.get(request.path);
    if (refusal) return respond(request, refusalResponse(refusal, request, cors));
    if (page) return respond(request, pageResponse(page, request, cors));
    if (isPreflight) return respond(request, preflight(request, cors));
    const headers = cors.answer(origin);
    // The answer to a call by GET is as secret and as short-lived as the answer to the same call by POST.
    return {
      type: "call",
      headers: request.method === "GET" ? { ...headers, "cache-control": "no-store" } : headers,
    };
  };
}

/** The route of a response, whose body is left out if the request is by HEAD. */
function respond(
  { method }: HttpRequestHead,
  response: UniversalServerResponse | Promise<UniversalServerResponse>,
): Route {
  const whole = Promise.resolve(response);
  const head = () => whole.then(({ status, header }) => ({ status, header }));
  return { type: "response", response: method === "HEAD" ? head() : whole };
}

function refusalResponse(
  refusal: HostRefusal,
  { header }: HttpRequestHead,
  cors: Cors,
): UniversalServerResponse {
  const type = new Headers({ "content-type": header("content-type") ?? "" });
  const response = refusedByHost(refusal, type);
  const headers = new Headers(response.header);
  addCorsHeaders(headers, cors, header("origin"));
  return { ...response, header: headers };
}

function preflight({ header }: HttpRequestHead, cors: Cors): UniversalServerResponse {
  const headers = cors.preflight(header("origin"), header("access-control-request-headers"));
  return { status: 204, header: new Headers(headers) };
}

async function pageResponse(
  page: ServerPage,
  request: HttpRequestHead,
  cors: Cors,
): Promise<UniversalServerResponse> {
  const allow = PAGE_METHODS.join(", ");
  if (request.method === "OPTIONS") {
    const response = page.hasCors ? preflight(request, cors) : { status: 204, header: new Headers() };
    response.header?.set("allow", allow);
    return response;
  }
  const { status, headers, body } = PAGE_METHODS.includes(request.method)
    ? await page.respond(request.header("authorization"))
    : { status: 405, headers: { "content-type": "text/plain", allow }, body: "method not allowed\n" };
  const bytes = utf8(body);
  const header = new Headers({
    ...headers,
    "cache-control": "no-store",
    "content-length": String(bytes.length),
  });
  if (page.hasCors) addCorsHeaders(header, cors, request.header("origin"));
  return { status, header, body: createAsyncIterable([bytes]) };
}
