import {
  Code,
  ConnectError,
  type ContextKey,
  type ContextValues,
  createContextKey,
  type Interceptor,
} from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { randomId } from "../../lib/random-id.js";
import { REQUEST_ID_HEADER } from "../../rpc/extension-headers.js";
import { type Routes, withValue, wrapHandlers } from "./wrap-handlers.js";

/** One call, as those see it who watch all of them: nothing of what it carries. */
export interface Call {
  /** What its caller named it in `x-request-id`, or one of our own. */
  readonly id: string;
  /** As "spec.proto.runtime.v1.Runtime/GetState". */
  readonly method: string;
  readonly protocol: "connect" | "grpc" | "grpc-web" | "tunnel";
  readonly isStream: boolean;
}

/** Is told of every call, whoever refuses it and however it ends. */
export interface CallObserver {
  began(call: Call): void;
  /** Once: when the last byte is sent, or the caller has gone. `code` is "ok", or as "not_found". */
  ended(call: Call, code: string, durationMs: number): void;
}

interface CallUnderWay extends Call {
  /** How it ended as far as the services tell; undefined while they do not. */
  code?: string;
}

const callKey: ContextKey<CallUnderWay | undefined> = createContextKey(undefined);

/** The id of a call, by its context values; "" for one that came by none of the server's routes. */
export const requestIdIn = (values: UniversalServerRequest["contextValues"]): string =>
  values?.get(callKey)?.id ?? "";

/** Notes that a call was refused before any interceptor saw it. */
export function noteRefusal(values: UniversalServerRequest["contextValues"], code: Code): void {
  const call = values?.get(callKey);
  if (call) call.code = nameOf(code);
}

/** What watches all calls. */
export interface Calls {
  through(routes: Routes): Routes;
  /** Tells of one call that comes by no HTTP handler, and notes it in `values`. */
  begin(
    call: Pick<Call, "method" | "protocol" | "isStream">,
    header: Headers,
    values: ContextValues,
  ): { id: string; ended(code: Code | 0): void };
  interceptor: Interceptor;
}

/** Tells `observers` of every call: `through` sees it begin and end, `interceptor`, the outermost one, how it ended. */
export function observeCalls(observers: readonly CallObserver[]): Calls {
  const newId = ids();
  const begin = (
    call: Pick<Call, "method" | "protocol" | "isStream">,
    header: Headers,
    values: ContextValues,
  ) => {
    const known: CallUnderWay = { id: saneId(header.get("x-request-id")) ?? newId(), ...call };
    values.set(callKey, known);
    const startMs = performance.now();
    for (const observer of observers) observer.began(known);
    const ended = (code: Code | 0) => {
      const durationMs = performance.now() - startMs;
      for (const observer of observers) observer.ended(known, code === 0 ? "ok" : nameOf(code), durationMs);
    };
    return { id: known.id, ended };
  };
  const through = (routes: Routes) =>
    wrapHandlers(routes, (handler) => {
      const method = handler.requestPath.slice(1);
      const isStream = handler.method.methodKind !== "unary";
      return async (request) => {
        const { header } = request;
        const call: CallUnderWay = {
          id: saneId(header.get("x-request-id")) ?? newId(),
          method,
          protocol: protocolOf(header.get("content-type")),
          isStream,
        };
        const startMs = performance.now();
        for (const observer of observers) observer.began(call);
        let isOver = false;
        const end = (code: string) => {
          if (isOver) return;
          isOver = true;
          const durationMs = performance.now() - startMs;
          for (const observer of observers) observer.ended(call, code, durationMs);
        };
        const leave = () => end("canceled");
        if (isStream) request.signal.addEventListener("abort", leave, { once: true });
        const settle = (code: string) => {
          request.signal.removeEventListener("abort", leave);
          end(code);
        };
        try {
          const response = await handler(withValue(request, callKey, call));
          // Of the answer itself, so that it is there once, in every protocol and whoever answers.
          const { body, header = new Headers() } = response;
          header.set(REQUEST_ID_HEADER, call.id);
          // A unary answer of Connect is whole; every other one tells at its end how it went.
          if (!body || (call.protocol === "connect" && !isStream)) {
            settle(codeOf(call, response));
            return { ...response, header };
          }
          return {
            ...response,
            header,
            body: watched(body, (last) => settle(codeOf(call, response, last)), leave),
          };
        } catch (error) {
          settle(request.signal.aborted ? "canceled" : "internal");
          throw error;
        }
      };
    });
  return { through, begin, interceptor: noteCodes };
}

/** Notes in the call how the services and all that is around them answered it. */
const noteCodes: Interceptor = (next) => async (request) => {
  const call = request.contextValues.get(callKey);
  if (!call) return next(request);
  const failed = (error: unknown) => {
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
        throw failed(error);
      }
    };
    return { ...response, message: noted() };
  } catch (error) {
    throw failed(error);
  }
};

/** Ids that no other server makes, and cheap: a call should not wait for random numbers. */
function ids(): () => string {
  const prefix = randomId().slice(0, 12);
  let count = 0;
  return () => `${prefix}-${(++count).toString(36)}`;
}

/** An id from outside that is safe in a header and in a line of a log. */
const saneId = (id: string | null): string | undefined =>
  id !== null && /^[\w.:@/+=-]{1,100}$/.test(id) ? id : undefined;

function protocolOf(contentType: string | null): Call["protocol"] {
  if (!contentType?.startsWith("application/grpc")) return "connect";
  return contentType.startsWith("application/grpc-web") ? "grpc-web" : "grpc";
}

/** How a call ended, where nothing but its answer tells: a body that cannot be read is refused before any interceptor. */
function codeOf(call: CallUnderWay, { status, trailer }: UniversalServerResponse, last?: Uint8Array): string {
  if (call.code !== undefined && call.code !== "ok") return call.code;
  if (status !== 200) return HTTP_STATUS[status] ?? "unknown";
  const grpcStatus = trailer?.get("grpc-status") ?? statusIn(last);
  if (grpcStatus === undefined) return call.code ?? "unknown";
  return grpcStatus === "0" ? "ok" : nameOf(Number(grpcStatus));
}

/** The status in the trailers at the end of a body of gRPC-Web. */
function statusIn(last: Uint8Array | undefined): string | undefined {
  if (last?.[0] !== 0x80) return undefined;
  return /grpc-status:\s*(\d+)/i.exec(new TextDecoder().decode(last))?.[1];
}

/** What Connect answers before there is a call: the statuses of refusals by the gate, and of bodies it cannot read. */
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

/** `body`, telling of its end with its last chunk, or of being left before. */
function watched(
  body: AsyncIterable<Uint8Array>,
  ended: (last: Uint8Array | undefined) => void,
  left: () => void,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner = body[Symbol.asyncIterator]();
      let last: Uint8Array | undefined;
      const leave = () => {
        left();
        return { done: true as const, value: undefined };
      };
      return {
        async next() {
          try {
            const result = await inner.next();
            if (result.done) ended(last);
            else last = result.value;
            return result;
          } catch (error) {
            ended(last);
            throw error;
          }
        },
        async return(value) {
          const over = leave();
          return inner.return ? inner.return(value) : over;
        },
        async throw(error) {
          left();
          if (inner.throw) return inner.throw(error);
          throw error;
        },
      };
    },
  };
}
