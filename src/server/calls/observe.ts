import {
  Code,
  ConnectError,
  type ContextKey,
  type ContextValues,
  createContextKey,
  type Interceptor,
} from "@connectrpc/connect";
import type {
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { randomId } from "../../lib/random-id.js";
import { REQUEST_ID_HEADER } from "../../rpc/extension-headers.js";
import { type Handle, type Routes, withValue, wrapHandlers } from "./wrap-handlers.js";

/** A call as its observers see it: nothing of its messages. */
export interface Call {
  /** The caller's `x-request-id`, or an id of this server. */
  readonly id: string;
  /** As "spec.proto.runtime.v1.Runtime/GetState". */
  readonly method: string;
  readonly protocol: "connect" | "grpc" | "grpc-web" | "tunnel";
  readonly isStream: boolean;
}

/** Observes every call, also those that are refused. */
export interface CallObserver {
  onStart(call: Call): void;
  /** Runs once, when the last byte is sent or the caller has left. `code` is "ok" or a code like "not_found". */
  onEnd(call: Call, code: string, durationMs: number): void;
}

/** A call with its outcome as far as the services have reported it. */
interface ObservedCall extends Call {
  code?: string;
}

const callKey: ContextKey<ObservedCall | undefined> = createContextKey(undefined);

/** The id of a call, from its context values; "" if the call came by none of the server's routes. */
export const requestIdIn = (values: UniversalServerRequest["contextValues"]): string =>
  values?.get(callKey)?.id ?? "";

/** Notes that a call was refused before any interceptor saw it. */
export function noteRefusal(values: UniversalServerRequest["contextValues"], code: Code): void {
  const call = values?.get(callKey);
  if (call) call.code = nameOf(code);
}

/** Reports all calls of a server to its observers. */
export interface CallMonitor {
  /** Wraps the handlers of `routes`: their calls are observed from the request to the last byte of the response. */
  observe(routes: Routes): Routes;
  /** Starts to observe one call of a tunnel, and notes it in `values`. The caller of this ends it. */
  startCall(
    call: Pick<Call, "method" | "protocol" | "isStream">,
    header: Headers,
    values: ContextValues,
  ): { id: string; end(code: Code | 0): void };
  /** The outermost interceptor but for heartbeats: notes with which code the services end a call. */
  readonly interceptor: Interceptor;
}

/** Reports every call to all `observers`. */
export function observeCalls(observers: readonly CallObserver[]): CallMonitor {
  const newId = idSequence();
  const idFrom = (header: Headers): string => safeId(header.get("x-request-id")) ?? newId();
  const start = (call: ObservedCall): EndCall => {
    const startMs = performance.now();
    for (const observer of observers) observer.onStart(call);
    let hasEnded = false;
    return (code) => {
      if (hasEnded) return;
      hasEnded = true;
      const durationMs = performance.now() - startMs;
      for (const observer of observers) observer.onEnd(call, code, durationMs);
    };
  };
  return {
    observe: (routes) => wrapHandlers(routes, (handler) => observeHandler(handler, idFrom, start)),
    startCall(call, header, values) {
      const observed: ObservedCall = { id: idFrom(header), ...call };
      values.set(callKey, observed);
      const end = start(observed);
      return { id: observed.id, end: (code) => end(code === 0 ? "ok" : nameOf(code)) };
    },
    interceptor: noteCode,
  };
}

/** Reports the end of a call, once. */
type EndCall = (code: string) => void;

function observeHandler(
  handler: UniversalHandler,
  idFrom: (header: Headers) => string,
  start: (call: ObservedCall) => EndCall,
): Handle {
  const method = handler.requestPath.slice(1);
  const isStream = handler.method.methodKind !== "unary";
  return async (request) => {
    const { header, signal } = request;
    const protocol = protocolOf(header.get("content-type"));
    const call: ObservedCall = { id: idFrom(header), method, protocol, isStream };
    const end = start(call);
    const cancel = () => end("canceled");
    if (isStream) signal.addEventListener("abort", cancel, { once: true });
    const settle: EndCall = (code) => {
      signal.removeEventListener("abort", cancel);
      end(code);
    };
    try {
      const response = await handler(withValue(request, callKey, call));
      return observeResponse(call, response, settle, cancel);
    } catch (error) {
      settle(signal.aborted ? "canceled" : "internal");
      throw error;
    }
  };
}

/** The response with the call's id. `settle` runs at its end, `cancel` if the caller leaves before. */
function observeResponse(
  call: ObservedCall,
  response: UniversalServerResponse,
  settle: EndCall,
  cancel: () => void,
): UniversalServerResponse {
  // The header is set on the response itself, so that it is there once, in every protocol and whoever answers.
  const { body, header = new Headers() } = response;
  header.set(REQUEST_ID_HEADER, call.id);
  // A unary response of Connect is whole; every other one has its status at the end.
  if (!body || (call.protocol === "connect" && !call.isStream)) {
    settle(codeOf(call, response));
    return { ...response, header };
  }
  const onEnd = (lastChunk: Uint8Array | undefined) => settle(codeOf(call, response, lastChunk));
  return { ...response, header, body: observeBody(body, onEnd, cancel) };
}

/** Notes in the call with which code the services and the interceptors around them answered it. */
const noteCode: Interceptor = (next) => async (request) => {
  const call = request.contextValues.get(callKey);
  if (!call) return next(request);
  const noteError = (error: unknown) => {
    call.code = nameOf(ConnectError.from(error, Code.Internal).code);
    return error;
  };
  try {
    const response = await next(request);
    if (!response.stream) {
      call.code = "ok";
      return response;
    }
    const { message } = response;
    const noted = async function* () {
      try {
        yield* message;
        call.code = "ok";
      } catch (error) {
        throw noteError(error);
      }
    };
    return { ...response, message: noted() };
  } catch (error) {
    throw noteError(error);
  }
};

/** Makes ids that no other server makes. A counter is cheap: a call should not wait for random numbers. */
function idSequence(): () => string {
  const prefix = randomId().slice(0, 12);
  let count = 0;
  return () => `${prefix}-${(++count).toString(36)}`;
}

/** The id, if it is safe in a header and in a line of a log. */
const safeId = (id: string | null): string | undefined =>
  id !== null && /^[\w.:@/+=-]{1,100}$/.test(id) ? id : undefined;

function protocolOf(contentType: string | null): Call["protocol"] {
  if (!contentType?.startsWith("application/grpc")) return "connect";
  return contentType.startsWith("application/grpc-web") ? "grpc-web" : "grpc";
}

/**
 * The code that a call ended with. If no interceptor noted one, only the response has it: a body that cannot be read is
 * refused before any interceptor.
 */
function codeOf(
  call: ObservedCall,
  { status, trailer }: UniversalServerResponse,
  lastChunk?: Uint8Array,
): string {
  if (call.code !== undefined && call.code !== "ok") return call.code;
  if (status !== 200) return HTTP_STATUS[status] ?? "unknown";
  const grpcStatus = trailer?.get("grpc-status") ?? statusIn(lastChunk);
  if (grpcStatus === undefined) return call.code ?? "unknown";
  return grpcStatus === "0" ? "ok" : nameOf(Number(grpcStatus));
}

/** The status in the trailers at the end of a body of gRPC-Web. */
function statusIn(chunk: Uint8Array | undefined): string | undefined {
  if (chunk?.[0] !== 0x80) return undefined;
  return /grpc-status:\s*(\d+)/i.exec(new TextDecoder().decode(chunk))?.[1];
}

/** The code for each status with which Connect or the access gate refuses a call before its body has been read. */
const HTTP_STATUS: Record<number, string> = {
  400: "invalid_argument",
  401: "unauthenticated",
  403: "permission_denied",
  404: "unimplemented",
  405: "unimplemented",
  415: "unimplemented",
  429: "resource_exhausted",
  499: "canceled",
  500: "internal",
  503: "unavailable",
  504: "deadline_exceeded",
};

const NAMES = new Map(
  Object.entries(Code)
    .filter(([, code]) => typeof code === "number")
    .map(([name, code]) => [code, name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toLowerCase()]),
);

const nameOf = (code: number): string => NAMES.get(code) ?? "unknown";

/** The chunks of `body`: `onEnd` receives the last one at their end, `onAbandoned` runs if the reader leaves before. */
function observeBody(
  body: AsyncIterable<Uint8Array>,
  onEnd: (lastChunk: Uint8Array | undefined) => void,
  onAbandoned: () => void,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner = body[Symbol.asyncIterator]();
      let lastChunk: Uint8Array | undefined;
      return {
        async next() {
          try {
            const result = await inner.next();
            if (result.done) onEnd(lastChunk);
            else lastChunk = result.value;
            return result;
          } catch (error) {
            onEnd(lastChunk);
            throw error;
          }
        },
        async return(value) {
          onAbandoned();
          return inner.return ? inner.return(value) : { done: true, value: undefined };
        },
        async throw(error) {
          onAbandoned();
          if (inner.throw) return inner.throw(error);
          throw error;
        },
      };
    },
  };
}
