import { create, type DescMethodStreaming, type DescMethodUnary } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextKey,
  type HandlerContext,
  type MethodImplSpec,
} from "@connectrpc/connect";
import type { InterceptedRequest, InterceptedResponse, InterceptorNext } from "./served-method.js";
import type { ServerCall } from "./server-call.js";

/** The call that a request belongs to: interceptors see the request only. */
const answerKey = createContextKey<ServerCall | undefined>(undefined);

/** The call as its interceptors see it: with the message, or the messages. */
export function toInterceptedRequest(answer: ServerCall, message: unknown): InterceptedRequest {
  const { method, path, header, values } = answer;
  const request = {
    stream: method.methodKind !== "unary",
    service: method.parent,
    method,
    requestMethod: "POST",
    url: `tunnel:${path}`,
    header,
    contextValues: values.set(answerKey, answer),
    message,
  };
  return Object.defineProperty(request, "signal", LAZY_SIGNAL) as never;
}

/**
 * The signal of a request, made when it is looked at: few calls need one, and none is cheap. One getter for all requests:
 * each of its own would give each request a shape of its own, which lives on in the engine and holds on to its call.
 */
const LAZY_SIGNAL = {
  enumerable: true,
  configurable: true,
  get(this: InterceptedRequest) {
    return answerOf(this).signal;
  },
};

/** The call that a request is. Throws where an interceptor has put other values into its context. */
function answerOf({ contextValues }: InterceptedRequest): ServerCall {
  const answer = contextValues.get(answerKey);
  if (!answer) throw new ConnectError("an interceptor took the context of the call away", Code.Internal);
  return answer;
}

export type UnarySpec = Extract<MethodImplSpec, { kind: "unary" }>;

/** The innermost of the interceptors: the handler itself. */
export const invokeHandler: InterceptorNext = async (
  request: InterceptedRequest,
): Promise<InterceptedResponse> => {
  const answer = answerOf(request);
  const { service } = request;
  const { spec } = answer.served;
  const common = { service, header: answer.responseHeader, trailer: answer.responseTrailer };
  const context = createHandlerContext(answer, request);
  if (!request.stream) {
    const output = await (spec as UnarySpec).impl(request.message as never, context);
    const { method } = spec as { method: DescMethodUnary };
    return { ...common, stream: false, method, message: create(method.output, output) };
  }
  const input =
    answer.method.methodKind === "server_streaming" ? await only(request.message) : request.message;
  const method = spec.method as DescMethodStreaming;
  return { ...common, stream: true, method, message: callStreamingHandler(answer, input, request) as never };
};

/** The messages that the handler of a streaming method answers. */
export function callStreamingHandler(
  answer: ServerCall,
  input: unknown,
  from: ServerCall | InterceptedRequest,
): AsyncIterable<unknown> {
  const { spec } = answer.served;
  const context = createHandlerContext(answer, from);
  // Called when its answer is asked for: what nobody asks any more would fail with nobody to hear it.
  if (spec.kind === "client_streaming") return singleMessage(() => spec.impl(input as never, context));
  return (spec as { impl(input: never, context: HandlerContext): AsyncIterable<unknown> }).impl(
    input as never,
    context,
  );
}

export function createHandlerContext(
  answer: ServerCall,
  from: ServerCall | InterceptedRequest = answer,
): HandlerContext {
  const context = new CallContext(answer, from);
  // Who takes no context cannot copy it.
  return answer.served.spec.impl.length > 1 ? Object.defineProperties(context, own) : context;
}

/** What a handler is told of its call. Many look at nothing of it, so nothing is made before. */
class CallContext implements HandlerContext {
  readonly method: HandlerContext["method"];
  readonly service: HandlerContext["service"];
  readonly requestMethod = "POST";
  readonly protocolName = "tunnel";
  readonly url: string;
  readonly #answer: ServerCall;
  readonly #from: ServerCall | InterceptedRequest;

  constructor(answer: ServerCall, from: ServerCall | InterceptedRequest) {
    const { method, path } = answer;
    this.method = method;
    this.service = method.parent;
    this.url = `tunnel:${path}`;
    this.#answer = answer;
    this.#from = from;
  }

  /** Also by itself, as handlers take it apart. */
  get timeoutMs(): HandlerContext["timeoutMs"] {
    return () => this.#answer.timeoutMs();
  }

  get signal(): AbortSignal {
    return this.#from.signal;
  }

  get requestHeader(): Headers {
    return this.#from.header;
  }

  get responseHeader(): Headers {
    return this.#answer.responseHeader;
  }

  get responseTrailer(): Headers {
    return this.#answer.responseTrailer;
  }

  get values(): ContextValues {
    return "contextValues" in this.#from ? this.#from.contextValues : this.#answer.values;
  }
}

/** The getters as properties of a context itself, so that a handler may copy it: all contexts share them, for the reason that LAZY_SIGNAL has. */
const own = Object.fromEntries(
  Object.entries(Object.getOwnPropertyDescriptors(CallContext.prototype))
    .filter(([, { get }]) => get)
    .map(([name, descriptor]) => [name, { ...descriptor, enumerable: true }]),
);

export async function* singleMessage<T>(item: () => T | Promise<T>): AsyncGenerator<T> {
  yield await item();
}

async function only<T>(messages: AsyncIterable<T>): Promise<T> {
  for await (const message of messages) return message;
  throw new ConnectError("protocol error: no message in a call with one", Code.Unimplemented);
}
