import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import {
  type CommonInvokeRequest,
  Runtime,
  HTTPExtension_VerbSchema as VerbSchema,
} from "../../../gen/runtime/service_pb.js";
import { checkType } from "../../lib/checks.js";
import { HTTP_PREFIX, HTTP_STATUS_HEADER } from "../../rpc/extension-headers.js";
import { escapeCookie, isHopByHop } from "../../rpc/invocation-headers.js";
import { messageOf } from "../errors/unreadable.js";
import type { InvocationHandler } from "../service.js";

/** The host in the URLs of the requests that handlers get. Only the path means something. */
const HOST = "http://app.invalid";

/**
 * Answers invocations of this app that arrive through the tunnel, each as one HTTP request: the handler gets the
 * request that `service(id).fetch()` sent. If the handler throws, the caller gets `Code.Internal` with the error's
 * message.
 *
 * @example
 * ```ts
 * import { createInvocations } from "fairlead/app";
 * import { createTunnelTransport } from "fairlead/node";
 *
 * const transport = createTunnelTransport("http://localhost:34904", { appId: "clock" });
 * const serving = transport.serve(createInvocations(() => Response.json({ now: Date.now() })));
 * await serving.ready; // service("clock").fetch("/") of any client reaches it now
 * await transport.close();
 * ```
 */
export function createInvocations(handler: InvocationHandler): (router: ConnectRouter) => void {
  checkType("Cannot serve invocations", "handler", "function", handler);
  return (router) => {
    router.rpc(
      Runtime.method.invokeService,
      async ({ message }, { requestHeader, responseHeader, signal }) => {
        const response = await respond(handler, requestOf(message, requestHeader, signal));
        copyHeaders(response, responseHeader);
        const value = new Uint8Array(await response.arrayBuffer());
        return { data: { typeUrl: "", value }, contentType: response.headers.get("content-type") ?? "" };
      },
    );
  };
}

/** The HTTP request that an invocation carries. */
function requestOf(
  message: CommonInvokeRequest | undefined,
  requestHeader: Headers,
  signal: AbortSignal,
): Request {
  const { method: path = "/", data, contentType = "", httpExtension } = message ?? {};
  const url = new URL(`${HOST}/${path.replace(/^\/+/, "")}`);
  url.search = httpExtension?.querystring ?? "";
  const bytes = data?.value;
  const verb = VerbSchema.value[httpExtension?.verb ?? 0]?.name ?? "NONE";
  const method = verb === "NONE" ? (bytes?.length ? "POST" : "GET") : verb;
  const hasBody = method !== "GET" && method !== "HEAD";
  const headers = new Headers();
  for (const [name, value] of requestHeader) {
    const own = name.startsWith(HTTP_PREFIX) ? name.slice(HTTP_PREFIX.length) : "";
    if (own !== "" && !isHopByHop(own)) headers.append(own, value);
  }
  if (contentType !== "") headers.set("content-type", contentType);
  const body = hasBody && bytes ? (bytes as Uint8Array<ArrayBuffer>) : null;
  return new Request(url, { method, headers, body, signal });
}

async function respond(handler: InvocationHandler, request: Request): Promise<Response> {
  try {
    return await handler(request);
  } catch (error) {
    throw new ConnectError(messageOf(error), Code.Internal, undefined, undefined, error);
  }
}

/** Adds the status and the headers of `response` to the headers of the call's answer. */
function copyHeaders(response: Response, responseHeader: Headers): void {
  for (const [name, value] of response.headers) {
    if (isHopByHop(name) || name === "content-type") continue;
    responseHeader.append(HTTP_PREFIX + name, name === "set-cookie" ? escapeCookie(value) : value);
  }
  responseHeader.set(HTTP_STATUS_HEADER, String(response.status));
}
