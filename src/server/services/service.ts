import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type CommonInvokeRequest,
  HTTPExtensionSchema,
  type InvokeServiceRequest,
  Runtime,
  HTTPExtension_Verb as Verb,
  HTTPExtension_VerbSchema as VerbSchema,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { quote } from "../../lib/quote.js";
import { HTTP_PREFIX, HTTP_STATUS_HEADER } from "../../rpc/extension-headers.js";
import { escapeCookie, isFromProxy, isHopByHop, isReserved } from "../../rpc/invocation-headers.js";
import { withCallId } from "../calls/log.js";
import type { ServiceContext } from "../context.js";
import { invalid, unavailable } from "../errors.js";
import type { AppCaller } from "../tunnel/app-registry.js";
import {
  checkPath,
  type HttpRequest,
  type HttpResponse,
  sendRequest,
  splitQuery,
  urlUnder,
} from "./shared/http-client.js";

/** A call of an app, however it is connected. */
interface Invocation extends Omit<HttpRequest, "url"> {
  verb: Verb;
  path: string;
  query: string;
}

/** Calls an app. */
type InvokedApp = (invocation: Invocation, signal: AbortSignal) => Promise<HttpResponse>;

/** InvokeService: calls an app that is configured or connected by a tunnel, and returns its response unchanged. */
export function invocationService(
  context: ServiceContext,
): Pick<ServiceImpl<typeof Runtime>, "invokeService"> {
  return {
    async invokeService(request, call) {
      const { requestHeader, responseHeader, signal } = call;
      const { id, message } = request;
      if (!context.components.find("services", id)) {
        const dialled = await context.apps.call(id, (caller) => forward(caller, request, call));
        if (dialled) return dialled.result;
        if (await context.apps.has(id)) throw unavailable(`the app ${quote(id)} is not connected now`);
      }
      const app = appAt(withCallId(context, call), id);
      const { status, headers, body } = await app(
        invocation(message as CommonInvokeRequest, requestHeader),
        signal,
      );
      for (const [name, value] of headers) {
        // A `status` header, which some CGI scripts send, would be taken for the HTTP status.
        if (name === "status") continue;
        responseHeader.append(HTTP_PREFIX + name, name === "set-cookie" ? escapeCookie(value) : value);
      }
      responseHeader.set(HTTP_STATUS_HEADER, String(status));
      return { data: { typeUrl: "", value: body }, contentType: headers.get("content-type") ?? "" };
    },
  };
}

/** Forwards the call to an app that is connected by a tunnel. */
async function forward(
  caller: AppCaller,
  { id, message }: InvokeServiceRequest,
  { requestHeader, responseHeader, signal, timeoutMs }: HandlerContext,
) {
  const { verb, path, query, headers } = invocation(message as CommonInvokeRequest, requestHeader);
  const forwarded = {
    ...(message as CommonInvokeRequest),
    method: path || "/",
    httpExtension: create(HTTPExtensionSchema, { verb, querystring: query }),
  };
  const prefixed = new Headers();
  for (const [name, value] of headers)
    if (name !== "content-type") prefixed.append(HTTP_PREFIX + name, value);
  const { invokeService } = Runtime.method;
  const request = { id, message: forwarded };
  const response = await caller.unary(invokeService, signal, timeoutMs(), prefixed, request);
  for (const [name, value] of response.header)
    if (name.startsWith(HTTP_PREFIX)) responseHeader.append(name, value);
  return response.message;
}

function appAt(context: ServiceContext, id: string): InvokedApp {
  const { url } = context.components.get("services", id);
  return ({ verb: _, path, query, ...request }, signal) =>
    sendRequest(
      context,
      `service ${quote(id)}`,
      { ...request, url: urlUnder(url, path, query, "message.method") },
      signal,
    );
}

function invocation(
  { method: target, data, contentType, httpExtension }: CommonInvokeRequest,
  requestHeader: Headers,
): Invocation {
  const body = data?.value;
  const verb = httpExtension?.verb || (body ? Verb.POST : Verb.GET);
  const method = VerbSchema.value[verb]?.name ?? "GET";
  const refuse = (why: string) => invalid("message.http_extension.verb", method, why);
  if (verb === Verb.CONNECT) throw refuse("must be a method that is a request and an answer");
  const bare = verb === Verb.HEAD || verb === Verb.TRACE;
  if (bare && body?.length) throw refuse("must be a method that can have a body, as there is data");
  const [path, ...queries] = splitQuery(target);
  checkPath(path, "message.method");
  if (httpExtension) queries.push(httpExtension.querystring.replace(/^\?/, ""));

  const headers = headersFor(requestHeader);
  if (contentType !== "") headers.set("content-type", contentType);
  // Existing clients may send data with GET, which is empty in most cases.
  const hasBody = !bare && (verb !== Verb.GET || body?.length);
  return { verb, path, query: queries.filter(Boolean).join("&"), method, headers, ...(hasBody && { body }) };
}

/** The headers for the app: those of the call that the RPC does not use itself, and those with the prefix. */
function headersFor(requestHeader: Headers): Headers {
  const headers = new Headers();
  const hopByHop = (requestHeader.get("connection") ?? "").toLowerCase().split(/\s*,\s*/);
  for (const [name, value] of requestHeader) {
    if (!isReserved(name) && !isFromProxy(name) && !hopByHop.includes(name)) headers.append(name, value);
  }
  for (const [name, value] of requestHeader) {
    const stripped = name.startsWith(HTTP_PREFIX) ? name.slice(HTTP_PREFIX.length) : "";
    if (stripped !== "" && !isHopByHop(stripped) && !isFromProxy(stripped)) headers.set(stripped, value);
  }
  return headers;
}
