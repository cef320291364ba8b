import { create } from "@bufbuild/protobuf";
import { createClient, type ServiceImpl, type Transport } from "@connectrpc/connect";
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
import { unchangedError, withErrorMapping } from "../../rpc/with-error-mapping.js";
import { withCallId } from "../calls/log.js";
import type { ServiceContext } from "../context.js";
import { invalid, unavailable } from "../errors.js";
import {
  checkPath,
  type HttpAnswer,
  type HttpRequest,
  sendRequest,
  splitQuery,
  urlUnder,
} from "./shared/http-client.js";

/** What is asked of an app, however it is reached. */
interface Invocation extends Omit<HttpRequest, "url"> {
  verb: Verb;
  path: string;
  query: string;
}

/** An app that can be called. The one thing that another way to reach apps has to offer. */
type App = (invocation: Invocation, signal: AbortSignal) => Promise<HttpAnswer>;

/** InvokeService: calls an app that is configured, and nothing else. Whatever it answers is the answer. */
export function invocationService(
  context: ServiceContext,
): Pick<ServiceImpl<typeof Runtime>, "invokeService"> {
  return {
    async invokeService(request, call) {
      const { requestHeader, responseHeader, signal } = call;
      const { id, message } = request;
      if (!context.components.find("services", id)) {
        const dialled = context.apps.next(id);
        if (dialled) return forward(dialled, request, requestHeader, responseHeader, signal);
        if (await context.apps.has(id)) throw unavailable(`the app ${quote(id)} is not connected now`);
      }
      const app = appAt(withCallId(context, call), id);
      const { status, headers, body } = await app(
        invocation(message as CommonInvokeRequest, requestHeader),
        signal,
      );
      for (const [name, value] of headers) {
        // A header that a CGI script left behind would be taken for the status itself.
        if (name === "status") continue;
        responseHeader.append(HTTP_PREFIX + name, name === "set-cookie" ? escapeCookie(value) : value);
      }
      responseHeader.set(HTTP_STATUS_HEADER, String(status));
      return { data: { typeUrl: "", value: body }, contentType: headers.get("content-type") ?? "" };
    },
  };
}

/** Calls an app that has dialled in: it is asked what the server was asked, and its answer is the answer. */
async function forward(
  transport: Transport,
  { id, message }: InvokeServiceRequest,
  requestHeader: Headers,
  responseHeader: Headers,
  signal: AbortSignal,
) {
  const { verb, path, query, headers } = invocation(message as CommonInvokeRequest, requestHeader);
  const asked = {
    ...(message as CommonInvokeRequest),
    method: path || "/",
    httpExtension: create(HTTPExtensionSchema, { verb, querystring: query }),
  };
  const own = new Headers();
  for (const [name, value] of headers) if (name !== "content-type") own.append(HTTP_PREFIX + name, value);
  const onHeader = (answered: Headers) => {
    for (const [name, value] of answered)
      if (name.startsWith(HTTP_PREFIX)) responseHeader.append(name, value);
  };
  return await createClient(Runtime, withErrorMapping(transport, unchangedError)).invokeService(
    { id, message: asked },
    {
      headers: own,
      signal,
      onHeader,
    },
  );
}

function appAt(context: ServiceContext, id: string): App {
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
  // GET may have data, as existing clients send it along; none is what it mostly has.
  const hasBody = !bare && (verb !== Verb.GET || body?.length);
  return { verb, path, query: queries.filter(Boolean).join("&"), method, headers, ...(hasBody && { body }) };
}

/** The call's headers that are the app's: those that the call does not need itself, and those with the prefix. */
function headersFor(requestHeader: Headers): Headers {
  const headers = new Headers();
  const ofConnection = (requestHeader.get("connection") ?? "").toLowerCase().split(/\s*,\s*/);
  for (const [name, value] of requestHeader) {
    if (!isReserved(name) && !isFromProxy(name) && !ofConnection.includes(name)) headers.append(name, value);
  }
  for (const [name, value] of requestHeader) {
    const own = name.startsWith(HTTP_PREFIX) ? name.slice(HTTP_PREFIX.length) : "";
    if (own !== "" && !isHopByHop(own) && !isFromProxy(own)) headers.set(own, value);
  }
  return headers;
}
