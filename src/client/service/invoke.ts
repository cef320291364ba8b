import { type CallOptions, Code, ConnectError, type Transport } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { Runtime, HTTPExtension_Verb as Verb } from "../../../gen/runtime/service_pb.js";
import { checkOptions, checkType } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { withOnHeader } from "../../rpc/call-headers.js";
import { codeOfStatus } from "../../rpc/http-status.js";
import { cookiesIn, HTTP_PREFIX, HTTP_STATUS, isHopByHop, isReserved } from "../../rpc/invocation-headers.js";
import { repeatable } from "../../rpc/repeatable.js";
import { type Codec, type Coding, codecOf, encoded, json } from "../codec.js";
import { decodeInto } from "../errors/unreadable.js";
import { generatedClient } from "../generated-client.js";

/** What fetch() takes: the parts of fetch's own options that mean something here, and those of a call. */
export interface InvokeInit
  extends Pick<RequestInit, "method" | "headers" | "body" | "signal">,
    Omit<CallOptions, "headers" | "signal"> {}

/** How a method of another app is called. */
export interface InvokeOptions<D> extends CallOptions {
  /** The HTTP method. Default: "POST" where there is data, else "GET". */
  verb?: "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH";
  /** How the data is coded. Default: `json()`. */
  dataCodec?: Codec<D>;
}

/** An app that the server can reach, called over HTTP without knowing where it is. */
export interface Service {
  /**
   * Calls the app as fetch would: any status is an answer, also a redirect, which is not followed. `path` is one
   * below the URL that the server has for the app, with a query or without. Rejects with ConnectError where there is
   * no answer. GET and HEAD may be tried again. `InvokeService`
   *
   * A Go runtime knows no other answer than 200: anything else rejects with `Code.Unavailable`.
   */
  fetch(path: string, init?: InvokeInit): Promise<Response>;
  /**
   * Calls `method`, a path, with `data`, and returns what the app answers: undefined for an empty answer, unless a
   * codec is given. Any status but 2xx rejects with the code that comes closest; `httpStatus()` of the error tells the
   * status, and its `cause` is the Response. `headers` go to the app. `InvokeService`
   */
  call<T = unknown, D = unknown>(
    method: string,
    data?: D,
    options?: InvokeOptions<D> & Coding<T>,
  ): Promise<T>;
}

/** What createService() gives, all of it. */
export function serviceInvoker(transport: Transport, id: string): Service {
  const client = generatedClient(Runtime, transport);

  const service: Service = {
    async fetch(path, options = {}) {
      const what = `Cannot fetch ${quote(path)} of service ${quote(id)}`;
      checkPath(what, path);
      // fetch() takes null for no signal.
      checkOptions(what, { ...options, signal: options?.signal ?? undefined }, { method: "string" });
      const { method = "GET", headers, body, signal, ...call } = options;
      const verb = verbOf(method, what);
      const bare = verb === Verb.GET || verb === Verb.HEAD || verb === Verb.TRACE;
      if (bare && body != null) throw new TypeError(`${what}: a ${method} has no body`);
      // Response knows how to take every kind of body apart, and which media type it has.
      const carrier = body == null ? undefined : new Response(body);
      const { contentType, own } = outgoing(new Headers(headers), carrier?.headers.get("content-type"));
      const [way = "", ...query] = (path.split("#")[0] ?? "").split("?");
      const message = {
        method: way || "/",
        httpExtension: { verb, querystring: query.join("?") },
        contentType,
        ...(carrier && { data: { value: new Uint8Array(await carrier.arrayBuffer()) } }),
      };

      let answered = new Headers();
      const told = withOnHeader(call, (headers) => {
        answered = headers;
      });
      const twice = verb === Verb.GET || verb === Verb.HEAD;
      const answer = await client.invokeService(
        { id, message },
        {
          ...told,
          headers: own,
          ...(signal && { signal }),
          ...(twice && { contextValues: repeatable(call.contextValues) }),
        },
      );
      const status = Number(answered.get(HTTP_STATUS) ?? 200);
      if (status < 200 || status > 599)
        throw new ConnectError(`${what}: it answered ${status}`, Code.Unknown);
      const empty = verb === Verb.HEAD || NO_BODY.includes(status);
      const bytes = (answer.data?.value ?? new Uint8Array()) as Uint8Array<ArrayBuffer>;
      return new Response(empty ? null : bytes, { status, headers: incoming(answered, answer.contentType) });
    },

    async call<T, D>(
      path: string,
      data?: D,
      options: InvokeOptions<D> & Coding<NoInfer<T>> = {},
    ): Promise<T> {
      const what = `Cannot call ${quote(path)} of service ${quote(id)}`;
      checkPath(what, path);
      checkOptions(what, options, { verb: "string", dataCodec: "object" });
      const { verb: method = data === undefined ? "GET" : "POST", dataCodec = json<D>(), ...rest } = options;
      const { codec, schema, ...call } = rest;
      const replies = codecOf<T>(options);
      const headers = new Headers(call.headers);
      if (!headers.has("accept")) headers.set("accept", replies.contentType);
      const init: InvokeInit = { ...call, method, headers };
      if (data !== undefined) {
        init.body = encoded(what, dataCodec, data) as Uint8Array<ArrayBuffer>;
        if (!headers.has("content-type")) headers.set("content-type", dataCodec.contentType);
      }
      const response = await service.fetch(path, init);
      if (!response.ok) throw failure(`${method} "${path}" of service "${id}"`, response);
      const bytes = new Uint8Array(await response.arrayBuffer());
      // The caller says in T whether the app may answer nothing.
      if (bytes.length === 0 && !codec && !schema) return undefined as T;
      return decodeInto({ value: undefined as T }, "value", replies, bytes, { service: id, method: path })
        .value;
    },
  };
  return service;
}

function checkPath(what: string, path: string): void {
  checkType(what, "the path", "string", path);
  if (/\p{Surrogate}/u.test(path)) throw new TypeError(`${what}: the path must be well-formed text`);
}

/** The statuses whose answers have no body, not even an empty one. */
const NO_BODY = [204, 205, 304];

function verbOf(method: string, what: string): Verb {
  const { NONE, CONNECT, ...verbs } = Verb;
  const verb = new Map<string, Verb>(Object.entries(verbs)).get(method.toUpperCase());
  if (verb !== undefined) return verb;
  throw new TypeError(`${what}: method must be one of ${Object.keys(verbs).join(", ")}, got "${method}"`);
}

/** The app's request headers as headers of the call, and the media type, which is a field of the request. */
function outgoing(headers: Headers, bodyType: string | null = null): { own: Headers; contentType: string } {
  const own = new Headers();
  for (const [name, value] of headers) {
    if (isHopByHop(name) || name === "content-type") continue;
    own.append(isReserved(name) ? HTTP_PREFIX + name : name, value);
  }
  return { own, contentType: headers.get("content-type") ?? bodyType ?? "" };
}

/** The app's response headers, out of those of the call: they have a prefix, or come bare from a Go runtime. */
function incoming(answered: Headers, contentType: string): Headers {
  const headers = new Headers();
  const prefixed = answered.has(HTTP_STATUS);
  for (const [name, value] of answered) {
    if (name === HTTP_STATUS) continue;
    const own = name.startsWith(HTTP_PREFIX) ? name.slice(HTTP_PREFIX.length) : prefixed ? "" : name;
    if (prefixed && own === "set-cookie") for (const cookie of cookiesIn(value)) headers.append(own, cookie);
    else if (own !== "" && (prefixed || !isReserved(own))) headers.append(own, value);
  }
  if (contentType !== "") headers.set("content-type", contentType);
  return headers;
}

function failure(what: string, response: Response): ConnectError {
  const { status } = response;
  const facts = { reason: "HTTP_STATUS", domain: "fairlead", metadata: { statusCode: String(status) } };
  const details = [{ desc: ErrorInfoSchema, value: facts }];
  return new ConnectError(`${what} answered ${status}`, codeOfStatus(status), undefined, details, response);
}
