import { create, type DescMethodStreaming, type DescMethodUnary } from "@bufbuild/protobuf";
import { createContextValues, type Interceptor, type Transport } from "@connectrpc/connect";
import { expectManyListeners } from "../../lib/max-listeners.js";
import { CallScope } from "../../rpc/dispatch/call-scope.js";
import { methodPath } from "../../rpc/dispatch/method-path.js";
import { needsNewConnection } from "../../rpc/new-connection.js";
import { toHeaderList } from "../wire/header-list.js";
import { maxMessageBytes } from "../wire/limits.js";
import type { Channel } from "./call.js";
import { callStream } from "./stream-call.js";
import { callUnary } from "./unary-call.js";

export interface CallerOptions {
  /** Connect's interceptors, around every call, from the outermost on. Default: none. */
  interceptors?: readonly Interceptor[] | undefined;
  /** The deadline of every call that has none of its own, in milliseconds. Default: none. */
  defaultTimeoutMs?: number | undefined;
  /** The most bytes of a message of an answer. Default: 67108864. */
  messageBytes?: number | undefined;
  /** What requests have as their URL, before the method's path. Default: "tunnel:". */
  baseUrl?: string | undefined;
}

/** A deadline so far away is none. */
const NEVER_MS = Number.MAX_SAFE_INTEGER;

/** The calling end: Connect's transport over a line. */
export function createCaller(
  line: Channel,
  {
    interceptors = [],
    defaultTimeoutMs,
    messageBytes = 64 * 1024 * 1024,
    baseUrl = "tunnel:",
  }: CallerOptions = {},
): Transport {
  const check = maxMessageBytes(messageBytes);
  const timeoutOf = (timeoutMs: number | undefined) => {
    const chosen = timeoutMs ?? defaultTimeoutMs;
    // Connect takes 0 and less for no deadline at all.
    return chosen !== undefined && chosen > 0 && chosen < NEVER_MS ? Math.ceil(chosen) : undefined;
  };
  const around = <Next>(next: Next): Next =>
    interceptors.reduceRight((inner, interceptor) => interceptor(inner as never) as never, next);
  const requestOf = (method: DescMethodUnary | DescMethodStreaming, header: HeadersInit | undefined) => ({
    service: method.parent,
    requestMethod: "POST",
    url: baseUrl + methodPath(method),
    header: new Headers(header),
  });

  return {
    unary(method, signal, timeoutMs, header, input, contextValues) {
      expectManyListeners(signal);
      const timeout = timeoutOf(timeoutMs);
      const message = create(method.input, input);
      const isNew = contextValues?.get(needsNewConnection) ?? false;
      if (interceptors.length === 0) {
        return callUnary(line, check, method, signal, timeout, timeout, toHeaderList(header), message, isNew);
      }
      const scope = new CallScope(signal, timeout);
      const call = around(
        async (request: { header: Headers; message: typeof message; signal: AbortSignal }) => {
          const { signal, message } = request;
          const header = toHeaderList(request.header);
          const answer = await callUnary(
            line,
            check,
            method,
            signal,
            undefined,
            timeout,
            header,
            message,
            isNew,
          );
          // Interceptors may go on with a copy of it.
          return { ...answer, header: answer.header, trailer: answer.trailer };
        },
      );
      return scope.run(
        call({
          ...requestOf(method, header),
          stream: false,
          method,
          message,
          signal: scope.signal,
          contextValues: contextValues ?? createContextValues(),
        } as never),
        true,
      );
    },

    async stream(method, signal, timeoutMs, header, input, contextValues) {
      expectManyListeners(signal);
      const timeout = timeoutOf(timeoutMs);
      const scope = new CallScope(signal, timeout);
      const call = around(
        (request: { header: Headers; message: AsyncIterable<never>; signal: AbortSignal }) =>
          callStream(
            line,
            check,
            method,
            request.signal,
            timeout,
            toHeaderList(request.header),
            request.message,
          ),
      );
      const response = await scope.run(
        call({
          ...requestOf(method, header),
          stream: true,
          method,
          message: input,
          signal: scope.signal,
          contextValues: contextValues ?? createContextValues(),
        } as never),
        false,
      );
      return { ...response, message: scope.wrapMessages(response.message) };
    },
  };
}
