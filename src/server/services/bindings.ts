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

/** InvokeBinding: the configured component executes the operation. */
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

/** The operations of an `http` binding and their HTTP methods. */
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
  const label = `binding ${quote(name)}`;
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

  const timeout = new AbortController();
  const cancelTimeout = runAfter(timeoutMs, () =>
    timeout.abort(unavailable(`${label} did not answer in ${timeoutMs} ms`)),
  );
  try {
    const request = { url: urlOf(base, path), method, headers, body };
    const response = await sendRequest(context, label, request, AbortSignal.any([signal, timeout.signal]));
    const status = `${response.status} ${response.statusText}`.trim();
    if (errorIfNot2XX === "true" && (response.status < 200 || response.status > 299)) {
      throw upstreamFailed(codeOfStatus(response.status), `${label} answered ${status}`, {
        statusCode: String(response.status),
      });
    }
    return {
      data: response.body,
      metadata: { ...canonicalMetadata(response.headers), statusCode: String(response.status), status },
    };
  } finally {
    cancelTimeout();
  }
}

/** The configured URL with `path`, which may have a query. */
function urlOf(base: string, path = ""): URL {
  if (path === "") return new URL(base);
  return urlUnder(base, ...splitQuery(path), 'metadata["path"]');
}

/** The headers in the metadata: fields that begin with an upper-case letter. */
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
      // The error does not contain the value, which may be a credential.
      throw invalid("metadata", key, "must be the name of a header, and its value have no line breaks");
    }
  }
  return headers;
}

/** Headers as metadata, in the canonical spelling of the Go runtime: "Content-Type". */
function canonicalMetadata(headers: Headers): Record<string, string> {
  const canonicalName = (name: string) => name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
  return Object.fromEntries(
    [...new Set(headers.keys())].map((name) => [canonicalName(name), headers.get(name) ?? ""]),
  );
}
