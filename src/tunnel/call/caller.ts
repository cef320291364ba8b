import { create, type DescMethodStreaming, type DescMethodUnary } from "@bufbuild/protobuf";
import {
  type ContextValues,
  createContextValues,
  type Interceptor,
  type StreamRequest,
  type Transport,
  type UnaryRequest,
} from "@connectrpc/connect";
import { CallScope } from "../../rpc/dispatch/call-scope.js";
import { withLazySignal } from "../../rpc/dispatch/lazy-signal.js";
import { methodPath } from "../../rpc/dispatch/method-path.js";
import { needsNewConnection } from "../../rpc/new-connection.js";
import { toHeaderList } from "../wire/header-list.js";
import { maxMessageBytes } from "../wire/limits.js";
import type { CallTarget, Channel } from "./call.js";
import { callStream } from "./stream-call.js";
import { callUnary } from "./unary-call.js";

export interface CallerOptions {
  /** Connect's interceptors, around every call, from the outermost on. Default: none. */
  interceptors?: readonly Interceptor[] | undefined;
  /** The deadline of calls that have none of their own, in milliseconds. Default: none. */
  defaultTimeoutMs?: number | undefined;
  /** The most bytes of a message of a response. Default: 67108864. */
  messageBytes?: number | undefined;
  /** The URL of requests before the method's path. Default: "tunnel:". */
  baseUrl?: string | undefined;
}

/** A Connect transport that calls through a channel. */
export const createCaller = (channel: Channel, options: CallerOptions = {}): Transport =>
  new Caller(channel, options);

/** A timeout this long is no deadline. */
const MAX_TIMEOUT_MS = Number.MAX_SAFE_INTEGER;

class Caller implements Transport {
  readonly #target: CallTarget;
  readonly #interceptors: readonly Interceptor[];
  readonly #defaultTimeoutMs: number | undefined;
  readonly #baseUrl: string;

  constructor(
    channel: Channel,
    {
      interceptors = [],
      defaultTimeoutMs,
      messageBytes = 64 * 1024 * 1024,
      baseUrl = "tunnel:",
    }: CallerOptions,
  ) {
    this.#target = { channel, check: maxMessageBytes(messageBytes) };
    this.#interceptors = interceptors;
    this.#defaultTimeoutMs = defaultTimeoutMs;
    this.#baseUrl = baseUrl;
  }

  readonly unary: Transport["unary"] = (method, signal, timeoutMs, header, input, contextValues) => {
    const target = this.#target;
    const deadlineMs = this.#deadlineOf(timeoutMs);
    const message = create(method.input, input);
    const isRetry = contextValues?.get(needsNewConnection) ?? false;
    if (this.#interceptors.length === 0) {
      const list = toHeaderList(header);
      return callUnary(target, method, list, message, { signal, timeoutMs: deadlineMs }, deadlineMs, isRetry);
    }
    const scope = new CallScope(signal, deadlineMs);
    const call = async (request: UnaryRequest<typeof method.input, typeof method.output>) => {
      const list = toHeaderList(request.header);
      const limits = scope.limitsOf(request);
      const response = await callUnary(target, method, list, request.message, limits, deadlineMs, isRetry);
      // Interceptors may copy the response, so its lazy headers must be own properties.
      return { ...response, header: response.header, trailer: response.trailer };
    };
    return this.#intercept(call, scope, method, header, contextValues, { stream: false, message });
  };

  readonly stream: Transport["stream"] = async (method, signal, timeoutMs, header, input, contextValues) => {
    const deadlineMs = this.#deadlineOf(timeoutMs);
    const scope = new CallScope(signal, deadlineMs);
    const call = (request: StreamRequest<typeof method.input, typeof method.output>) => {
      const list = toHeaderList(request.header);
      const messages = request.message as AsyncIterable<never>;
      return callStream(this.#target, method, list, messages, scope.limitsOf(request), deadlineMs);
    };
    return this.#intercept(call, scope, method, header, contextValues, { stream: true, message: input });
  };

  /** Connect takes 0 and less for no deadline. */
  #deadlineOf(timeoutMs = this.#defaultTimeoutMs): number | undefined {
    return timeoutMs !== undefined && timeoutMs > 0 && timeoutMs < MAX_TIMEOUT_MS
      ? Math.ceil(timeoutMs)
      : undefined;
  }

  /** Makes `call` within the interceptors. */
  #intercept<R>(
    call: (request: never) => Promise<R>,
    scope: CallScope,
    method: DescMethodUnary | DescMethodStreaming,
    header: HeadersInit | undefined,
    contextValues: ContextValues | undefined,
    content: { stream: boolean; message: unknown },
  ): Promise<R> {
    const next = this.#interceptors.reduceRight(
      (inner, interceptor) => interceptor(inner as never) as never,
      call as (request: unknown) => Promise<never>,
    );
    const request = {
      service: method.parent,
      method,
      requestMethod: "POST",
      url: this.#baseUrl + methodPath(method),
      header: new Headers(header),
      contextValues: contextValues ?? createContextValues(),
      ...content,
    };
    return scope.run(next(withLazySignal(request, scope)));
  }
}
