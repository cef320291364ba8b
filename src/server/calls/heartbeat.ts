import { create, type Message } from "@bufbuild/protobuf";
import type { Interceptor, StreamRequest } from "@connectrpc/connect";
import { HEARTBEAT_HEADER } from "../../rpc/extension-headers.js";
import { LATE_HEADERS } from "../../rpc/stream-watchdog.js";

/** The shortest and the longest interval that a client may ask for, in milliseconds. */
const LEAST_MS = 1000;
const MOST_MS = 60_000;

/** When a stream without a message yet sends its first heartbeat, so that its client knows that it is open. */
const FIRST_MS = 100;

/**
 * Sends an empty message on a response stream whenever nothing was sent for the interval that its client asks for, so
 * that both ends and every proxy between them know that it is alive. Clients that do not ask never get one.
 */
export const heartbeat: Interceptor = (next) => (request) =>
  request.stream ? respondWithHeartbeats(next, request) : next(request);

async function respondWithHeartbeats(next: Next, request: StreamRequest): ReturnType<Next> {
  const requestedMs = Number(request.header.get(HEARTBEAT_HEADER));
  const response = await next(request);
  const { methodKind, output } = request.method;
  if (!(requestedMs > 0) || !response.stream || methodKind === "client_streaming") return response;
  const everyMs = Math.round(Math.min(Math.max(requestedMs, LEAST_MS), MOST_MS));
  response.header.set(HEARTBEAT_HEADER, String(everyMs));
  const firstMs = LATE_HEADERS.has(request.method.name) ? undefined : FIRST_MS;
  return { ...response, message: withHeartbeats(response.message, () => create(output), everyMs, firstMs) };
}

type Next = ReturnType<Interceptor>;

/** Not a generator: leaving it would wait for its next message first. */
function withHeartbeats(
  messages: AsyncIterable<Message>,
  heartbeatMessage: () => Message,
  everyMs: number,
  firstMs: number | undefined,
) {
  return {
    [Symbol.asyncIterator](): AsyncIterator<Message> {
      const inner = messages[Symbol.asyncIterator]();
      let pending: Promise<IteratorResult<Message>> | undefined;
      let isFirst = true;
      return {
        async next() {
          pending ??= inner.next();
          const waitMs = isFirst ? firstMs : everyMs;
          isFirst = false;
          const step = waitMs === undefined ? await pending : await within(pending, waitMs);
          if (!step) return { done: false, value: heartbeatMessage() };
          pending = undefined;
          return step;
        },
        return: async (value) => (await inner.return?.(value)) ?? { done: true, value: undefined },
        async throw(error) {
          if (inner.throw) return inner.throw(error);
          throw error;
        },
      };
    },
  };
}

/** The result of `step`; undefined if it takes longer than `ms`. */
function within<T>(step: Promise<T>, ms: number): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    step.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
