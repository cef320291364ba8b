import type { ServiceImpl } from "@connectrpc/connect";
import type { InvokeBindingRequest, Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { quote } from "../../lib/quote.js";
import { runAfter } from "../../lib/timer.js";
import { codeOfStatus } from "../../rpc/http-status.js";
import { isFromProxy, isHopByHop } from "../../rpc/invocation-headers.js";
import { withCallId } from "../calls/log.js";
import type { Config } from "../config/config.js";
import type { ServiceContext } from "../context.js";
import { invalid, unavailable, upstreamFailed } from "../errors.js";
import { sendRequest, splitQuery, urlUnder } from "./shared/http-client.js";
import { traceContext } from "./shared/trace-context.js";

type Binding = Config["bindings"][string];
type HttpBinding = Extract<Binding, { type: "http" }>;

/** InvokeBinding: what stands behind the configured name does the operation. */
export function bindingsService(context: ServiceContext): Pick<ServiceImpl<typeof Runtime>, "invokeBinding"> {
  return {
    async invokeBinding(request, call) {
      const { requestHeader, signal } = call;
      const binding = context.components.get("bindings", request.name);
      switch (binding.type) {
        case "echo":
          return { data: request.data, metadata: request.metadata };
        case "http":
          return callHttp(
            withCallId(context, call),
            binding,
            request,
            traceContext((name) => requestHeader.get(name)),
            signal,
          );
      }
    },
  };
}

/** The operations of an `http` binding and the methods that they are. */
const METHODS = new Map([
  ["create", "POST"],
  ...["get", "head", "post", "put", "patch", "delete", "options", "trace"].map(
    (operation) => [operation, operation.toUpperCase()] as const,
  ),
]);

const WITH_BODY = ["POST", "PUT", "PATCH"];

async function callHttp(
  context: ServiceContext,
  { url: base, timeoutMs }: HttpBinding,
  { name, operation, metadata, data }: InvokeBindingRequest,
  trace: Record<string, string>,
  signal: AbortSignal,
) {
  const what = `binding ${quote(name)}`;
  const method = METHODS.get(operation);
  if (!method) throw invalid("operation", operation, `must be one of ${[...METHODS.keys()].join(", ")}`);
  const { path, errorIfNot2XX = "true" } = metadata;
  if (errorIfNot2XX !== "true" && errorIfNot2XX !== "false") {
    throw invalid('metadata["errorIfNot2XX"]', errorIfNot2XX, 'must be "true" or "false"');
  }
  const headers = headersIn(metadata);
  if (!headers.has("accept")) headers.set("accept", "application/json");
  if (!headers.has("traceparent"))
    for (const [name, value] of Object.entries(trace)) headers.set(name, value);
  const body = WITH_BODY.includes(method) ? data : undefined;
  if (body && !headers.has("content-type")) headers.set("content-type", "application/json");

  const late = new AbortController();
  const onTime = runAfter(timeoutMs, () =>
    late.abort(unavailable(`${what} did not answer in ${timeoutMs} ms`)),
  );
  try {
    const request = { url: target(base, path), method, headers, body };
    const answer = await sendRequest(context, what, request, AbortSignal.any([signal, late.signal]));
    const status = `${answer.status} ${answer.statusText}`.trim();
    if (errorIfNot2XX === "true" && (answer.status < 200 || answer.status > 299)) {
      throw upstreamFailed(codeOfStatus(answer.status), `${what} answered ${status}`, {
        statusCode: String(answer.status),
      });
    }
    return {
      data: answer.body,
      metadata: { ...canonical(answer.headers), statusCode: String(answer.status), status },
    };
  } finally {
    onTime();
  }
}

/** Where a request goes: the configured URL, and what `path`, which may have a query, adds to it. */
function target(base: string, path = ""): URL {
  if (path === "") return new URL(base);
  return urlUnder(base, ...splitQuery(path), 'metadata["path"]');
}

/** The metadata that is meant as headers: what begins with an upper-case letter. */
function headersIn(metadata: Record<string, string>): Headers {
  const headers = new Headers();
  for (const [key, value] of Object.entries(metadata)) {
    if (!/^[A-Z]/.test(key)) continue;
    if (isHopByHop(key.toLowerCase())) {
      throw invalid("metadata", key, "must not be set: it is the connection's own header");
    }
    if (isFromProxy(key.toLowerCase())) {
      throw invalid("metadata", key, "must not be set: only a proxy knows who it calls for");
    }
    try {
      headers.append(key, value);
    } catch {
      // Not quoted: it may be a credential.
      throw invalid("metadata", key, "must be the name of a header, and its value have no line breaks");
    }
  }
  return headers;
}

/** Headers as metadata, in the spelling that the Go runtime gives them: "Content-Type". */
function canonical(headers: Headers): Record<string, string> {
  const spelt = (name: string) => name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
  return Object.fromEntries(
    [...new Set(headers.keys())].map((name) => [spelt(name), headers.get(name) ?? ""]),
  );
}
