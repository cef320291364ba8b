import type { CallOptions, Transport } from "@connectrpc/connect";
import { checkedName } from "../lib/checks.js";
import type { Codec, Coding } from "./codec.js";
import { lazyMethods } from "./lazy.js";

/** Options of `fetch()`: those of the global fetch that apply to a call of an app, and those of a call. */
export interface InvokeInit
  extends Pick<RequestInit, "method" | "headers" | "body" | "signal">,
    Omit<CallOptions, "headers" | "signal"> {}

/** Options of `call()`. */
export interface InvokeOptions<D> extends CallOptions {
  /** The HTTP method. Default: "POST" with data, else "GET". */
  verb?: "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH";
  /** How the data is encoded. Default: `json()`. */
  dataCodec?: Codec<D>;
}

/** An app that the server can reach, called over HTTP without knowing its address. */
export interface Service {
  /**
   * Calls the app as the global fetch does: every HTTP status is an answer, and redirects are not followed. `path` may
   * have a query and is relative to the URL that the server has for the app. Rejects with ConnectError if there is no
   * answer. GET and HEAD may be retried. `InvokeService`
   *
   * With a Go runtime, every status other than 200 rejects with `Code.Unavailable`.
   */
  fetch(path: string, init?: InvokeInit): Promise<Response>;
  /**
   * Calls the path `method` with `data` and returns the decoded answer; an empty answer is undefined, unless a codec or
   * schema is given. A status other than 2xx rejects with the closest code; `httpStatus(error)` is the status, and the
   * error's `cause` is the Response. `headers` go to the app. `InvokeService`
   */
  call<T = unknown, D = unknown>(
    method: string,
    data?: D,
    options?: InvokeOptions<D> & Coding<T>,
  ): Promise<T>;
}

/**
 * Answers an invocation as a handler of fetch's `Request` and `Response`. The request's `signal` aborts when the caller
 * no longer waits.
 */
export type InvocationHandler = (request: Request) => Response | Promise<Response>;

/**
 * The app that the server calls `id`. Its code is loaded by the first call.
 *
 * @example
 * ```ts
 * import { createService } from "fairlead";
 * import { createInvocations } from "fairlead/app";
 * import { createTunnelTransport } from "fairlead/node";
 *
 * const transport = createTunnelTransport("http://localhost:34904", { appId: "shop" });
 * await transport.serve(createInvocations(({ url }) => new Response(new URL(url).pathname))).ready;
 * const response = await createService(transport, "shop").fetch("/items/7");
 * console.log(await response.text()); // /items/7
 * await transport.close();
 * ```
 */
export function createService(transport: Transport, id: string): Service {
  checkedName("the service", id);
  return lazyMethods(({ serviceInvoker }) => serviceInvoker(transport, id), ["fetch", "call"]);
}
