import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { Runtime, HTTPExtension_VerbSchema as VerbSchema } from "../../../gen/runtime/service_pb.js";
import { checkType } from "../../lib/checks.js";
import { escapeCookie, HTTP_PREFIX, HTTP_STATUS, isHopByHop } from "../../rpc/invocation-headers.js";

/** Answers an invocation as a handler of fetch's `Request` and `Response`. The request's `signal` aborts when nobody waits any more. */
export type InvocationHandler = (request: Request) => Response | Promise<Response>;

/** The host that an app sees in the URLs of invocations: what counts is the path. */
const HOST = "http://app.invalid";

/**
 * Answers invocations of this app that come through the tunnel, each as one HTTP request: what `service(id).fetch()`
 * sends is what the handler gets. A handler that throws is `internal` to the caller, with the error's message.
 */
export function createInvocations(handler: InvocationHandler): (router: ConnectRouter) => void {
  checkType("Cannot serve invocations", "handler", "function", handler);
  return (router) => {
    router.rpc(
      Runtime.method.invokeService,
      async ({ message }, { requestHeader, responseHeader, signal }) => {
        const { method: path = "/", data, contentType = "", httpExtension } = message ?? {};
        const url = new URL(`${HOST}/${path.replace(/^\/+/, "")}`);
        url.search = httpExtension?.querystring ?? "";
        const bytes = data?.value;
        const method = VerbSchema.value[httpExtension?.verb ?? 0]?.name ?? "NONE";
        const verb = method === "NONE" ? (bytes?.length ? "POST" : "GET") : method;
        const bare = verb === "GET" || verb === "HEAD";
        const headers = new Headers();
        for (const [name, value] of requestHeader) {
          const own = name.startsWith(HTTP_PREFIX) ? name.slice(HTTP_PREFIX.length) : "";
          if (own !== "" && !isHopByHop(own)) headers.append(own, value);
        }
        if (contentType !== "") headers.set("content-type", contentType);
        const body = bare || !bytes ? null : (bytes as Uint8Array<ArrayBuffer>);
        const response = await answered(handler, new Request(url, { method: verb, headers, body, signal }));
        for (const [name, value] of response.headers) {
          if (isHopByHop(name) || name === "content-type") continue;
          responseHeader.append(HTTP_PREFIX + name, name === "set-cookie" ? escapeCookie(value) : value);
        }
        responseHeader.set(HTTP_STATUS, String(response.status));
        const value = new Uint8Array(await response.arrayBuffer());
        return { data: { typeUrl: "", value }, contentType: response.headers.get("content-type") ?? "" };
      },
    );
  };
}

async function answered(handler: InvocationHandler, request: Request): Promise<Response> {
  try {
    return await handler(request);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConnectError(reason, Code.Internal, undefined, undefined, error);
  }
}
