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
 * A span and a duration for each call that a transport makes, and the trace in its headers, W3C's `traceparent` and
 * `tracestate` where the SDK propagates those: for the `interceptors` of a transport, and for the `clientInterceptors`
 * of createServer(). A stream's span ends with the stream. A call whose headers say already which trace it is about, as
 * an event's delivery does, has a link to that, and belongs to it where no other span is active. It uses the SDK that is
 * registered with `@opentelemetry/api`; without one it does nothing.
 */
export function otelClient(): Interceptor {
  return (next) => (request) => {
    const active = context.active();
    const given = propagation.extract(ROOT_CONTEXT, request.header, headerGetter);
    const about = trace.getSpanContext(given);
    const parent = about && !isInSpan(active) ? given : active;
    const attributes = { ...attributesOf(request), ...peerOf(request.url) };
    const links = about ? [{ context: about }] : [];
    const span = trace
      .getTracer(SCOPE)
      .startSpan(nameOf(request), { kind: SpanKind.CLIENT, attributes, links }, parent);
    const within = trace.setSpan(parent, span);
    propagation.inject(within, request.header, headerSetter);
    return follow(next, request, { span, within, metric: "rpc.client.call.duration", isFailure: () => true });
  };
}

/**
 * A span and a duration for each call that a server answers, as a part of the caller's trace: for the `interceptors`
 * of createServer() and serveCallbacks(). The headers of the call then carry the server's own span, so that events that
 * are published and services that are invoked go on from it. Without a registered SDK it does nothing.
 */
export function otelServer(): Interceptor {
  return (next) => (request) => {
    const active = context.active();
    // The span of an instrumented HTTP server is nearer than the caller's.
    const parent = isInSpan(active) ? active : propagation.extract(active, request.header, headerGetter);
    const span = trace
      .getTracer(SCOPE)
      .startSpan(nameOf(request), { kind: SpanKind.SERVER, attributes: attributesOf(request) }, parent);
    const within = trace.setSpan(parent, span);
    propagation.inject(within, request.header, headerSetter);
    return follow(next, request, {
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

/** The codes that say something about the server; the others are about what the caller asked for. */
const SERVER_FAULTS = new Set([
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Unimplemented,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
]);

interface Following {
  span: Span;
  within: Context;
  metric: "rpc.client.call.duration" | "rpc.server.call.duration";
  /** Whether a call that ended with this code has failed, as far as its span's side is concerned. */
  isFailure(code: Code): boolean;
}

/** Makes the call within its span, and ends that with the call: of a stream, when it ends or is left. */
async function follow(next: Next, request: Request, following: Following): ReturnType<Next> {
  const { within } = following;
  const end = ending(request, following);
  try {
    const response = await context.with(within, () => next(request));
    if (!response.stream) {
      end();
      return response;
    }
    // Who leaves a stream of Connect may do so by its signal only.
    const leave = () => end(ConnectError.from(request.signal.reason, Code.Canceled));
    request.signal.addEventListener("abort", leave, { once: true });
    const over = (error?: unknown) => {
      request.signal.removeEventListener("abort", leave);
      end(error);
    };
    const { message } = response;
    const followed = async function* () {
      const messages = message[Symbol.asyncIterator]();
      let isRead = false;
      try {
        for (;;) {
          const { done, value } = await context.with(within, () => messages.next());
          if (done) break;
          yield value;
        }
        isRead = true;
        over();
      } catch (error) {
        isRead = true;
        over(error);
        throw error;
      } finally {
        if (!isRead) {
          over(new ConnectError("the stream was left", Code.Canceled));
          await context.with(within, () => messages.return?.());
        }
      }
    };
    return { ...response, message: followed() };
  } catch (error) {
    end(error);
    throw error;
  }
}

/** Ends the span of a call, once, and says how long it took. */
function ending(request: Request, { span, within, metric, isFailure }: Following): (error?: unknown) => void {
  const startMs = performance.now();
  let isOver = false;
  return (error) => {
    if (isOver) return;
    isOver = true;
    const ended: Record<string, string> = {};
    if (error !== undefined) {
      const { code, rawMessage } = ConnectError.from(error, Code.Unknown);
      const status = statusOf(request, code);
      ended["rpc.status_code"] = status;
      if (isFailure(code)) {
        ended["error.type"] = status;
        span.setStatus({ code: SpanStatusCode.ERROR, message: rawMessage });
        span.recordException(error instanceof Error ? error : rawMessage);
      }
    } else if (isGrpc(request)) ended["rpc.status_code"] = "OK";
    span.setAttributes(ended);
    span.end();
    const seconds = (performance.now() - startMs) / 1000;
    histogramOf(metric).record(seconds, { ...attributesOf(request), ...ended }, within);
  };
}

/** As OpenTelemetry recommends them for durations of calls, in seconds. */
const BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** Asked for at every call: an SDK may be registered later, and keeps one for each name. */
function histogramOf(metric: Following["metric"]): Histogram {
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

/** Also over gRPC-Web. */
const isGrpc = ({ header }: Request): boolean =>
  header.get("content-type")?.startsWith("application/grpc") === true;

/** A code as its protocol writes it: NOT_FOUND in gRPC, not_found in Connect. */
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
