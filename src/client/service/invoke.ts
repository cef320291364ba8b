import { type CallOptions, type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { Runtime, HTTPExtension_Verb as Verb } from "../../../gen/runtime/service_pb.js";
import { checkOptions, checkType } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { withOnHeader } from "../../rpc/call-headers.js";
import { HTTP_PREFIX, HTTP_STATUS_HEADER } from "../../rpc/extension-headers.js";
import { codeOfStatus } from "../../rpc/http-status.js";
import { cookiesIn, isHopByHop, isReserved } from "../../rpc/invocation-headers.js";
import { repeatable } from "../../rpc/repeatable.js";
import { type Coding, codecOf, encoded, json } from "../codec.js";
import { decodeInto } from "../errors/unreadable.js";
import { generatedClient } from "../generated-client.js";
import type { InvokeInit, InvokeOptions, Service } from "../service.js";

/** The implementation of createService(). */
export function serviceInvoker(transport: Transport, id: string): Service {
  const client = generatedClient(Runtime, transport);
  return {
    fetch: async (path, init = {}) => fetchFrom(client, id, path, init),
    call: async <T, D>(
      path: string,
      data?: D,
      options: InvokeOptions<D> & Coding<NoInfer<T>> = {},
    ): Promise<T> => callMethod(client, id, path, data, options),
  };
}

async function fetchFrom(
  client: Client<typeof Runtime>,
  id: string,
  path: string,
  init: InvokeInit,
): Promise<Response> {
  const failure = `Cannot fetch ${quote(path)} of service ${quote(id)}`;
  checkPath(failure, path);
  // fetch() takes null for no signal.
  checkOptions(failure, { ...init, signal: init?.signal ?? undefined }, { method: "string" });
  const { method = "GET", headers, body, signal, ...call } = init;
  const verb = verbOf(method, failure);
  const hasNoBody = verb === Verb.GET || verb === Verb.HEAD || verb === Verb.TRACE;
  if (hasNoBody && body != null) throw new TypeError(`${failure}: a ${method} has no body`);
  // Response reads every kind of body and knows its media type.
  const carrier = body == null ? undefined : new Response(body);
  const { contentType, own } = outgoing(new Headers(headers), carrier?.headers.get("content-type"));
  const [pathname = "", ...query] = (path.split("#")[0] ?? "").split("?");
  const message = {
    method: pathname || "/",
    httpExtension: { verb, querystring: query.join("?") },
    contentType,
    ...(carrier && { data: { value: new Uint8Array(await carrier.arrayBuffer()) } }),
  };

  let responseHeaders = new Headers();
  const options: CallOptions = withOnHeader(call, (headers) => {
    responseHeaders = headers;
  });
  options.headers = own;
  if (signal) options.signal = signal;
  const mayRetry = verb === Verb.GET || verb === Verb.HEAD;
  if (mayRetry) options.contextValues = repeatable(call.contextValues);
  const answer = await client.invokeService({ id, message }, options);
  const status = Number(responseHeaders.get(HTTP_STATUS_HEADER) ?? 200);
  if (status < 200 || status > 599) throw new ConnectError(`${failure}: it answered ${status}`, Code.Unknown);
  const isEmpty = verb === Verb.HEAD || NO_BODY.includes(status);
  const bytes = (answer.data?.value ?? new Uint8Array()) as Uint8Array<ArrayBuffer>;
  const responseInit = { status, headers: incoming(responseHeaders, answer.contentType) };
  return new Response(isEmpty ? null : bytes, responseInit);
}

async function callMethod<T, D>(
  client: Client<typeof Runtime>,
  id: string,
  path: string,
  data: D | undefined,
  options: InvokeOptions<D> & Coding<NoInfer<T>>,
): Promise<T> {
  const failure = `Cannot call ${quote(path)} of service ${quote(id)}`;
  checkPath(failure, path);
  checkOptions(failure, options, { verb: "string", dataCodec: "object" });
  const { verb: method = data === undefined ? "GET" : "POST", dataCodec = json<D>(), ...rest } = options;
  const { codec, schema, ...call } = rest;
  const responseCodec = codecOf<T>(options);
  const headers = new Headers(call.headers);
  if (!headers.has("accept")) headers.set("accept", responseCodec.contentType);
  const init: InvokeInit = { ...call, method, headers };
  if (data !== undefined) {
    init.body = encoded(failure, dataCodec, data) as Uint8Array<ArrayBuffer>;
    if (!headers.has("content-type")) headers.set("content-type", dataCodec.contentType);
  }
  const response = await fetchFrom(client, id, path, init);
  if (!response.ok) throw statusError(`${method} "${path}" of service "${id}"`, response);
  const bytes = new Uint8Array(await response.arrayBuffer());
  // T says whether the app may answer nothing.
  if (bytes.length === 0 && !codec && !schema) return undefined as T;
  const place = { service: id, method: path };
  return decodeInto({ value: undefined as T }, "value", responseCodec, bytes, place).value;
}

function checkPath(failure: string, path: string): void {
  checkType(failure, "the path", "string", path);
  if (/\p{Surrogate}/u.test(path)) throw new TypeError(`${failure}: the path must be well-formed text`);
}

/** The statuses for which Response accepts no body, not even an empty one. */
const NO_BODY = [204, 205, 304];

function verbOf(method: string, failure: string): Verb {
  const { NONE, CONNECT, ...verbs } = Verb;
  const verb = new Map<string, Verb>(Object.entries(verbs)).get(method.toUpperCase());
  if (verb !== undefined) return verb;
  throw new TypeError(`${failure}: method must be one of ${Object.keys(verbs).join(", ")}, got "${method}"`);
}

/** The app's request headers as headers of the call, and the media type, which is a field of the message. */
function outgoing(headers: Headers, bodyType: string | null = null): { own: Headers; contentType: string } {
  const own = new Headers();
  for (const [name, value] of headers) {
    if (isHopByHop(name) || name === "content-type") continue;
    own.append(isReserved(name) ? HTTP_PREFIX + name : name, value);
  }
  return { own, contentType: headers.get("content-type") ?? bodyType ?? "" };
}

/** The app's response headers from those of the call. They have a prefix, except from a Go runtime. */
function incoming(callHeaders: Headers, contentType: string): Headers {
  const headers = new Headers();
  const isPrefixed = callHeaders.has(HTTP_STATUS_HEADER);
  for (const [name, value] of callHeaders) {
    if (name === HTTP_STATUS_HEADER) continue;
    const own = name.startsWith(HTTP_PREFIX) ? name.slice(HTTP_PREFIX.length) : isPrefixed ? "" : name;
    if (isPrefixed && own === "set-cookie")
      for (const cookie of cookiesIn(value)) headers.append(own, cookie);
    else if (own !== "" && (isPrefixed || !isReserved(own))) headers.append(own, value);
  }
  if (contentType !== "") headers.set("content-type", contentType);
  return headers;
}

function statusError(failure: string, response: Response): ConnectError {
  const { status } = response;
  const facts = {
    reason: "HTTP_STATUS",
    domain: "fairlead",
    metadata: { statusCode: String(status) },
  };
  const details = [{ desc: ErrorInfoSchema, value: facts }];
  return new ConnectError(
    `${failure} answered ${status}`,
    codeOfStatus(status),
    undefined,
    details,
    response,
  );
}
