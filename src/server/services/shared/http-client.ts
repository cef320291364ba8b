import { ConnectError } from "@connectrpc/connect";
import { canceled } from "../../../rpc/canceled.js";
import { isHopByHop } from "../../../rpc/invocation-headers.js";
import type { ServiceContext } from "../../context.js";
import { exhausted, invalid, unavailable } from "../../errors.js";

/** An HTTP request that this server sends for a client. */
export interface HttpRequest {
  url: URL;
  method: string;
  headers: Headers;
  /** HEAD and TRACE have none. */
  body?: Uint8Array | undefined;
}

export interface HttpResponse {
  status: number;
  /** The reason phrase; "" over HTTP/2. */
  statusText: string;
  /** Without hop-by-hop headers, and without the content encoding that fetch has decoded. */
  headers: Headers;
  body: Uint8Array;
}

/**
 * The URL of `path` below the configured `base`, with `query`. Refuses every path that could lead anywhere else, also
 * if the service behind it decodes the path differently: clients may reach nothing but paths below the configured URL.
 */
export function urlUnder(base: string, path: string, query: string, field: string): URL {
  checkPath(path, field);
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/${path.replace(/^\//, "")}`;
  url.search = [url.search.slice(1), query.replace(/^\?/, "")].filter(Boolean).join("&");
  return url;
}

/** Refuses a path that urlUnder() would refuse. It applies to every app, however it is connected. */
export function checkPath(path: string, field: string): void {
  const flaw = flawOf(path);
  if (flaw) throw invalid(field, path, `must be a path below the configured URL, like "/items/7": ${flaw}`);
}

/** Splits a path and its query, which existing clients send in one field. */
export function splitQuery(path: string): [path: string, query: string] {
  const at = path.indexOf("?");
  return at < 0 ? [path, ""] : [path.slice(0, at), path.slice(at + 1)];
}

function flawOf(path: string): string | undefined {
  // The URL parser would silently remove some of them.
  if (path.search(CONTROLS) >= 0) return "it has control characters";
  if (path.includes("\\")) return "it has a backslash";
  if (path.startsWith("//")) return "it begins with two slashes";
  if (/^[a-z][a-z0-9+.-]*:/i.test(path))
    return "it begins with a scheme; a first part with a colon needs a slash before it";
  if (/[?#]/.test(path)) return "it has a query or a fragment";
  if (/%(?![0-9a-f]{2})/i.test(path)) return "it has a % that encodes nothing";
  const plain = decodeRepeatedly(path);
  if (plain.includes("\0")) return "it has a NUL";
  // Some servers remove a parameter after the dots, as in "..;a", or a tab anywhere, before they resolve the dots.
  const segments = plain.replace(CONTROLS, "").split(/[/\\]/);
  if (segments.some((segment) => /^\.\.?(;|$)/.test(segment))) return "it has a . or .. segment";
  return undefined;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: it finds control characters
const CONTROLS = /[\u0000-\u001f\u007f]/g;

/** Decodes the dots, slashes and control characters of `path` repeatedly and leniently, as some servers do. */
function decodeRepeatedly(path: string): string {
  const plain = path
    .replace(/%(25|2e|2f|5c|[01][0-9a-f]|7f)/gi, (code) =>
      String.fromCharCode(Number.parseInt(code.slice(1), 16)),
    )
    .replace(/%c0%ae/gi, ".")
    .replace(/%c0%af/gi, "/");
  return plain === path ? path : decodeRepeatedly(plain);
}

/**
 * Sends `request` and reads the whole response, up to the limit on values. Redirects are not followed. Fails as
 * `unavailable` if there is no response. Errors name the other side `label`, as clients must not learn its address.
 */
export async function sendRequest(
  { platform, limits, log }: ServiceContext,
  label: string,
  { url, method, headers, body }: HttpRequest,
  signal: AbortSignal,
): Promise<HttpResponse> {
  try {
    const init = { method, headers, redirect: "manual", signal } satisfies RequestInit;
    const response = await platform.fetch(
      url,
      body ? { ...init, body: body as Uint8Array<ArrayBuffer> } : init,
    );
    if (response.type === "opaqueredirect") {
      await response.body?.cancel();
      throw unavailable(`${label} answered with a redirect, which a browser does not let this server see`);
    }
    return {
      status: response.status,
      statusText: response.statusText,
      headers: endToEndHeaders(response.headers, method),
      body: await readLimited(response.body, limits.valueBytes, label),
    };
  } catch (error) {
    if (signal.aborted) throw canceled(signal);
    if (error instanceof ConnectError) throw error;
    log.warn({ what: label, err: error }, "no answer to a request");
    throw unavailable(`${label} cannot be reached`);
  }
}

function endToEndHeaders(headers: Headers, method: string): Headers {
  const kept = new Headers(headers);
  const connectionHeaders = (headers.get("connection") ?? "")
    .split(",")
    .map((name) => name.trim().toLowerCase());
  // A response to HEAD has no body that fetch could have decoded.
  const unchanged = method === "HEAD" ? ["content-length", "content-encoding"] : [];
  for (const name of new Set(headers.keys())) {
    const isDecoded = name === "content-encoding";
    const isDropped = isHopByHop(name) || connectionHeaders.includes(name) || isDecoded;
    if (isDropped && !unchanged.includes(name)) kept.delete(name);
  }
  return kept;
}

async function readLimited(
  stream: ReadableStream<Uint8Array> | null,
  most: number,
  label: string,
): Promise<Uint8Array> {
  const reader = stream?.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    size += value.length;
    if (size <= most) continue;
    await reader.cancel();
    throw exhausted("valueBytes", most, `${label} answered with more bytes`);
  }
  const body = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}
