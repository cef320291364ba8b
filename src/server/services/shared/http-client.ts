import { ConnectError } from "@connectrpc/connect";
import { canceled } from "../../../rpc/canceled.js";
import { isHopByHop } from "../../../rpc/invocation-headers.js";
import type { ServiceContext } from "../../context.js";
import { exhausted, invalid, unavailable } from "../../errors.js";

/** An HTTP request that this server makes for a client. */
export interface HttpRequest {
  url: URL;
  method: string;
  headers: Headers;
  /** None for HEAD and TRACE. */
  body?: Uint8Array | undefined;
}

export interface HttpAnswer {
  status: number;
  /** What stands behind the status; "" over HTTP/2. */
  statusText: string;
  /** Without those that are about the connection, or about a form of the body that fetch has decoded. */
  headers: Headers;
  body: Uint8Array;
}

/**
 * The URL of `path` below the configured `base`, with `query`. Refuses every path that could lead, or be read by
 * what is behind it, as anything but a place below: the configured URL is all that a client may reach.
 */
export function urlUnder(base: string, path: string, query: string, field: string): URL {
  checkPath(path, field);
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/${path.replace(/^\//, "")}`;
  url.search = [url.search.slice(1), query.replace(/^\?/, "")].filter(Boolean).join("&");
  return url;
}

/** Refuses a path that urlUnder() would refuse: the rule for every app, however it is reached. */
export function checkPath(path: string, field: string): void {
  const flaw = flawOf(path);
  if (flaw) throw invalid(field, path, `must be a path below the configured URL, like "/items/7": ${flaw}`);
}

/** `path` and the query in it, as existing clients send them together. */
export function splitQuery(path: string): [path: string, query: string] {
  const at = path.indexOf("?");
  return at < 0 ? [path, ""] : [path.slice(0, at), path.slice(at + 1)];
}

function flawOf(path: string): string | undefined {
  // The URL parser would drop some of them without a word.
  if (path.search(CONTROLS) >= 0) return "it has control characters";
  if (path.includes("\\")) return "it has a backslash";
  if (path.startsWith("//")) return "it begins with two slashes";
  if (/^[a-z][a-z0-9+.-]*:/i.test(path))
    return "it begins with a scheme; a first part with a colon needs a slash before it";
  if (/[?#]/.test(path)) return "it has a query or a fragment";
  if (/%(?![0-9a-f]{2})/i.test(path)) return "it has a % that encodes nothing";
  const plain = unmasked(path);
  if (plain.includes("\0")) return "it has a NUL";
  // A parameter behind the dots, as in "..;a", is cut off by some servers before they resolve them, a tab anywhere.
  const segments = plain.replace(CONTROLS, "").split(/[/\\]/);
  if (segments.some((segment) => /^\.\.?(;|$)/.test(segment))) return "it has a . or .. segment";
  return undefined;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\u0000-\u001f\u007f]/g;

/** `path` as what decodes it, however often and however leniently, would see its dots, slashes and control characters. */
function unmasked(path: string): string {
  const plain = path
    .replace(/%(25|2e|2f|5c|[01][0-9a-f]|7f)/gi, (code) =>
      String.fromCharCode(Number.parseInt(code.slice(1), 16)),
    )
    .replace(/%c0%ae/gi, ".")
    .replace(/%c0%af/gi, "/");
  return plain === path ? path : unmasked(plain);
}

/**
 * Sends `request` and reads the answer whole, up to the limit on values; redirects are answers like any other. Fails
 * as `unavailable` where there is none, calling the other side `what`: its address is not for clients to know.
 */
export async function sendRequest(
  { platform, limits, log }: ServiceContext,
  what: string,
  { url, method, headers, body }: HttpRequest,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  try {
    const init = { method, headers, redirect: "manual", signal } satisfies RequestInit;
    const response = await platform.fetch(
      url,
      body ? { ...init, body: body as Uint8Array<ArrayBuffer> } : init,
    );
    if (response.type === "opaqueredirect") {
      await response.body?.cancel();
      throw unavailable(`${what} answered with a redirect, which a browser does not let this server see`);
    }
    return {
      status: response.status,
      statusText: response.statusText,
      headers: passedOn(response.headers, method),
      body: await limited(response.body, limits.valueBytes, what),
    };
  } catch (error) {
    if (signal.aborted) throw canceled(signal);
    if (error instanceof ConnectError) throw error;
    log.warn({ what, err: error }, "no answer to a request");
    throw unavailable(`${what} cannot be reached`);
  }
}

function passedOn(headers: Headers, method: string): Headers {
  const kept = new Headers(headers);
  const named = (headers.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase());
  const told = method === "HEAD" ? ["content-length", "content-encoding"] : [];
  for (const name of new Set(headers.keys())) {
    const decoded = name === "content-encoding";
    if ((isHopByHop(name) || named.includes(name) || decoded) && !told.includes(name)) kept.delete(name);
  }
  return kept;
}

async function limited(
  stream: ReadableStream<Uint8Array> | null,
  most: number,
  what: string,
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
    throw exhausted("valueBytes", most, `${what} answered with more bytes`);
  }
  const body = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}
