import { create, type DescMethodStreaming, type DescMethodUnary } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextKey,
  type HandlerContext,
  type MethodImplSpec,
} from "@connectrpc/connect";
import { withLazySignal } from "./lazy-signal.js";
import type {
  ArrivedCall,
  InterceptedRequest,
  InterceptedResponse,
  InterceptorNext,
  ServedMethod,
} from "./served-method.js";

/** A call that is being answered, as its interceptors and its handler see it. */
export interface DispatchedCall extends ArrivedCall {
  readonly served: ServedMethod;
  readonly requestMethod: string;
  readonly url: string;
  readonly responseTrailer: Headers;
  readonly values: ContextValues;
  /** The milliseconds until the deadline; undefined without one. */
  timeoutMs(): number | undefined;
}

/** The call that a request belongs to: interceptors see the request only. */
const callKey = createContextKey<DispatchedCall | undefined>(undefined);

/** The request of `call` for its interceptors, with the message, or the messages. */
export function toInterceptedRequest(call: DispatchedCall, message: unknown): InterceptedRequest {
  const { method, header, values, url, requestMethod } = call;
  const request = {
    stream: method.methodKind !== "unary",
    service: method.parent,
    method,
    requestMethod,
    url,
    header,
    contextValues: values.set(callKey, call),
    message,
  };
  return withLazySignal(request, call) as never;
}

/** Throws if an interceptor has replaced the request's context values. */
function callOf({ contextValues }: InterceptedRequest): DispatchedCall {
  const call = contextValues.get(callKey);
  if (!call) throw new ConnectError("an interceptor replaced contextValues", Code.Internal);
  return call;
}

export type UnarySpec = Extract<MethodImplSpec, { kind: "unary" }>;

/** The innermost `next` of the interceptors: calls the handler. */
export const invokeHandler: InterceptorNext = async (
  request: InterceptedRequest,
): Promise<InterceptedResponse> => {
  const call = callOf(request);
  const { service } = request;
  const { spec } = call.served;
  const { responseHeader: header, responseTrailer: trailer } = call;
  if (!request.stream) {
    const context = createHandlerContext(call, request);
    const output = await (spec as UnarySpec).impl(request.message as never, context);
    const { method } = spec as { method: DescMethodUnary };
    return { stream: false, service, header, trailer, method, message: create(method.output, output) };
  }
  const input =
    call.method.methodKind === "server_streaming" ? await firstMessage(request.message) : request.message;
  const method = spec.method as DescMethodStreaming;
  const message = callStreamingHandler(call, input, request) as never;
  return { stream: true, service, header, trailer, method, message };
};

/** The messages that the handler of a streaming method responds with. */
export function callStreamingHandler(
  call: DispatchedCall,
  input: unknown,
  from: DispatchedCall | InterceptedRequest,
): AsyncIterable<unknown> {
  const { spec } = call.served;
  const context = createHandlerContext(call, from);
  // Called when the response is read: if nobody reads it any more, nobody would handle its failure.
  if (spec.kind === "client_streaming") return singleMessage(() => spec.impl(input as never, context));
  return (spec as { impl(input: never, context: HandlerContext): AsyncIterable<unknown> }).impl(
    input as never,
    context,
  );
}

export function createHandlerContext(
  call: DispatchedCall,
  from: DispatchedCall | InterceptedRequest = call,
): HandlerContext {
  const context = new CallContext(call, from);
  // A handler that takes no context cannot copy it.
  return call.served.spec.impl.length > 1 ? copyable(context) : context;
}

/** The context as an object that a handler may copy: with properties of its own, of which only the signal is lazy. */
function copyable(context: CallContext): HandlerContext {
  const { method, service, requestMethod, protocolName, url, timeoutMs, values } = context;
  const { requestHeader, responseHeader, responseTrailer } = context;
  const own = {
    method,
    service,
    requestMethod,
    protocolName,
    url,
    timeoutMs,
    values,
    requestHeader,
    responseHeader,
    responseTrailer,
  };
  return withLazySignal(own, context);
}

/** A handler's context. Many handlers read nothing of it, so all of it is created when it is read. */
class CallContext implements HandlerContext {
  readonly method: HandlerContext["method"];
  readonly service: HandlerContext["service"];
  readonly requestMethod: string;
  readonly protocolName: string;
  readonly #call: DispatchedCall;
  readonly #from: DispatchedCall | InterceptedRequest;

  constructor(call: DispatchedCall, from: DispatchedCall | InterceptedRequest) {
    const { method } = call;
    this.method = method;
    this.service = method.parent;
    this.requestMethod = call.requestMethod;
    this.protocolName = call.protocolName;
    this.#call = call;
    this.#from = from;
  }

  get url(): string {
    return this.#from.url;
  }

  /** A function of its own, since handlers destructure their context. */
  get timeoutMs(): HandlerContext["timeoutMs"] {
    return () => this.#call.timeoutMs();
  }

  get signal(): AbortSignal {
    return this.#from.signal;
  }

  get requestHeader(): Headers {
    return this.#from.header;
  }

  get responseHeader(): Headers {
    return this.#call.responseHeader;
  }

  get responseTrailer(): Headers {
    return this.#call.responseTrailer;
  }

  get values(): ContextValues {
    return "contextValues" in this.#from ? this.#from.contextValues : this.#call.values;
  }
}

export async function* singleMessage<T>(item: () => T | Promise<T>): AsyncGenerator<T> {
  yield await item();
}

async function firstMessage<T>(messages: AsyncIterable<T>): Promise<T> {
  for await (const message of messages) return message;
  throw new ConnectError("protocol error: no message in a call with one", Code.Unimplemented);
}
