/**
 * `fairlead/otel`: traces and metrics of calls by OpenTelemetry, for clients and servers.
 *
 * @module
 */
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { Context, Histogram, Span, TextMapGetter, TextMapSetter } from "@opentelemetry/api";

const { ROOT_CONTEXT, SpanKind, SpanStatusCode, context, metrics, propagation, trace } = await import(
  "@opentelemetry/api"
).catch((error: unknown) => {
  throw new Error('Cannot use fairlead/otel without its peer: add the package "@opentelemetry/api"', {
    cause: error,
  });
});

/**
 * An interceptor that records a span and a duration for each call of a transport, and adds the trace context to its
 * headers (W3C `traceparent` and `tracestate`, if the SDK propagates these). For the `interceptors` of a transport and
 * the `clientInterceptors` of createServer(). The span of a stream ends with the stream. If the headers of a call
 * already have a trace context, as those of an event's delivery do, the span is linked to it, and is its child if no
 * other span is active. Uses the SDK that is registered with `@opentelemetry/api`; without one it does nothing.
 *
 * @example
 * ```ts
 * import { createClient } from "fairlead";
 * import { otelClient } from "fairlead/otel";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const fl = createClient(createNodeTransport("http://localhost:34904", { interceptors: [otelClient()] }));
 * await fl.state().set("greeting", "hello"); // recorded as the span ".../SaveState"
 * await fl.close();
 * ```
 */
export function otelClient(): Interceptor {
  return (next) => (request) => {
    const active = context.active();
    const given = propagation.extract(ROOT_CONTEXT, request.header, headerGetter);
    const givenSpan = trace.getSpanContext(given);
    const parent = givenSpan && !isInSpan(active) ? given : active;
    const attributes = { ...attributesOf(request), ...peerOf(request.url) };
    const links = givenSpan ? [{ context: givenSpan }] : [];
    const span = trace
      .getTracer(SCOPE)
      .startSpan(nameOf(request), { kind: SpanKind.CLIENT, attributes, links }, parent);
    const within = trace.setSpan(parent, span);
    propagation.inject(within, request.header, headerSetter);
    return recordCall(next, request, {
      span,
      within,
      metric: "rpc.client.call.duration",
      isFailure: () => true,
    });
  };
}

/**
 * An interceptor that records a span and a duration for each call that a server answers, as part of the caller's trace.
 * For the `interceptors` of createServer() and serveCallbacks(). The headers of the call then have the server's span,
 * so that published events and invoked services continue the trace. Without a registered SDK it does nothing.
 *
 * @example
 * ```ts
 * import { createClient } from "fairlead";
 * import { otelServer } from "fairlead/otel";
 * import { createServer, inProcess } from "fairlead/server";
 *
 * const server = createServer({ interceptors: [otelServer()] });
 * await createClient(inProcess(server)).state().set("greeting", "hello"); // recorded as a span of the server
 * await server.close();
 * ```
 */
export function otelServer(): Interceptor {
  return (next) => (request) => {
    const active = context.active();
    // The span of an instrumented HTTP server is the closer parent; it has the caller's as its own.
    const parent = isInSpan(active) ? active : propagation.extract(active, request.header, headerGetter);
    const span = trace
      .getTracer(SCOPE)
      .startSpan(nameOf(request), { kind: SpanKind.SERVER, attributes: attributesOf(request) }, parent);
    const within = trace.setSpan(parent, span);
    propagation.inject(within, request.header, headerSetter);
    return recordCall(next, request, {
      span,
      within,
      metric: "rpc.server.call.duration",
      isFailure: (code) => SERVER_FAULTS.has(code),
    });
  };
}

const SCOPE = "fairlead";

type Next = Parameters<Interceptor>[0];
type Request = Parameters<Next>[0];

/** The codes that report a failure of the server. The others report a mistake of the caller, or an expected outcome. */
const SERVER_FAULTS = new Set([
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Unimplemented,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
]);

interface CallRecord {
  span: Span;
  within: Context;
  metric: "rpc.client.call.duration" | "rpc.server.call.duration";
  /** Whether the span of a call that ended with this code is an error. */
  isFailure(code: Code): boolean;
}

/** Makes the call within its span, and ends the span with the call or its stream. */
async function recordCall(next: Next, request: Request, record: CallRecord): ReturnType<Next> {
  const { within } = record;
  const end = spanEnd(request, record);
  try {
    const response = await context.with(within, () => next(request));
    if (!response.stream) {
      end();
      return response;
    }
    // A caller may leave a stream by its signal alone, without a further step.
    const { signal } = request;
    const leave = () => end(ConnectError.from(signal.reason, Code.Canceled));
    signal.addEventListener("abort", leave, { once: true });
    const endStream = (error?: unknown) => {
      signal.removeEventListener("abort", leave);
      end(error);
    };
    return { ...response, message: recordStream(response.message, within, endStream) };
  } catch (error) {
    end(error);
    throw error;
  }
}

/** `messages`, read within the span. Calls `end` when they end, fail or are left. */
async function* recordStream<T>(
  messages: AsyncIterable<T>,
  within: Context,
  end: (error?: unknown) => void,
): AsyncGenerator<T> {
  const inner = messages[Symbol.asyncIterator]();
  let isComplete = false;
  try {
    for (;;) {
      const { done, value } = await context.with(within, () => inner.next());
      if (done) break;
      yield value;
    }
    isComplete = true;
    end();
  } catch (error) {
    isComplete = true;
    end(error);
    throw error;
  } finally {
    if (!isComplete) {
      end(new ConnectError("the stream was left", Code.Canceled));
      await context.with(within, () => inner.return?.());
    }
  }
}

/** Returns a function that ends the span of a call and records its duration, once. */
function spanEnd(
  request: Request,
  { span, within, metric, isFailure }: CallRecord,
): (error?: unknown) => void {
  const startMs = performance.now();
  let hasEnded = false;
  return (error) => {
    if (hasEnded) return;
    hasEnded = true;
    const outcome: Record<string, string> = {};
    if (error !== undefined) {
      const { code, rawMessage } = ConnectError.from(error, Code.Unknown);
      const status = statusOf(request, code);
      outcome["rpc.status_code"] = status;
      if (isFailure(code)) {
        outcome["error.type"] = status;
        span.setStatus({ code: SpanStatusCode.ERROR, message: rawMessage });
        span.recordException(error instanceof Error ? error : rawMessage);
      }
    } else if (isGrpc(request)) outcome["rpc.status_code"] = "OK";
    span.setAttributes(outcome);
    span.end();
    const seconds = (performance.now() - startMs) / 1000;
    histogramOf(metric).record(seconds, { ...attributesOf(request), ...outcome }, within);
  };
}

/** The histogram buckets that OpenTelemetry recommends for the durations of calls, in seconds. */
const BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** Read at each call, because an SDK may be registered later. It returns the same histogram for the same name. */
function histogramOf(metric: CallRecord["metric"]): Histogram {
  return metrics.getMeter(SCOPE).createHistogram(metric, {
    unit: "s",
    description: metric.includes("client") ? "Duration of calls made." : "Duration of calls answered.",
    advice: { explicitBucketBoundaries: BUCKETS_S },
  });
}

const isInSpan = (active: Context): boolean => trace.getSpan(active)?.isRecording() === true;

const nameOf = ({ service, method }: Request): string => `${service.typeName}/${method.name}`;

const attributesOf = (request: Request) => ({
  "rpc.system.name": isGrpc(request) ? "grpc" : "connectrpc",
  "rpc.method": nameOf(request),
});

function peerOf(url: string): Record<string, string | number> {
  const { hostname, port, protocol } = new URL(url, "http://localhost");
  return { "server.address": hostname, "server.port": Number(port || (protocol === "https:" ? 443 : 80)) };
}

/** Whether the call is made over gRPC or gRPC-Web. */
const isGrpc = ({ header }: Request): boolean =>
  header.get("content-type")?.startsWith("application/grpc") === true;

/** The name of a code in the protocol of the call: NOT_FOUND in gRPC, not_found in Connect. */
function statusOf(request: Request, code: Code): string {
  const words = (Code[code] ?? "Unknown").replace(/(?<=[a-z])(?=[A-Z])/g, "_");
  if (!isGrpc(request)) return words.toLowerCase();
  return code === Code.Canceled ? "CANCELLED" : words.toUpperCase();
}

const headerSetter: TextMapSetter<Headers> = { set: (header, name, value) => header.set(name, value) };

const headerGetter: TextMapGetter<Headers> = {
  keys: (header) => [...header.keys()],
  get: (header, name) => header.get(name) ?? undefined,
};
