import type {
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  DescService,
  Message,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type HandlerContext,
  type Transport,
} from "@connectrpc/connect";

/** A gateway: serves the methods of `service` by forwarding each call over the transport that `to` returns. */
export function forwarding(
  service: DescService,
  to: (context: HandlerContext) => Transport,
): (router: ConnectRouter) => void {
  return (router) => {
    // The router does not know the messages of an unknown method.
    for (const method of service.methods) router.rpc(method as never, handlerOf(method, to) as never);
  };
}

function handlerOf(method: DescMethod, to: (context: HandlerContext) => Transport) {
  const stream = (messages: AsyncIterable<Message>, context: HandlerContext) =>
    passOn(method as DescMethodStreaming, to(context), messages, context);
  switch (method.methodKind) {
    case "unary":
      return async (message: Message, context: HandlerContext) => {
        const { signal, requestHeader } = context;
        const timeoutMs = leftMs(context);
        const answer = await to(context).unary(
          method as DescMethodUnary,
          signal,
          timeoutMs,
          requestHeader,
          message as never,
        );
        copy(answer.header, context.responseHeader);
        copy(answer.trailer, context.responseTrailer);
        return answer.message;
      };
    case "server_streaming":
      return (message: Message, context: HandlerContext) => stream(only(message), context);
    case "client_streaming":
      return async (messages: AsyncIterable<Message>, context: HandlerContext) => {
        const answers: Message[] = [];
        for await (const answer of stream(messages, context)) answers.push(answer);
        if (answers.length !== 1) {
          throw new ConnectError(`${answers.length} answers to a call that has one`, Code.Unimplemented);
        }
        return answers[0];
      };
    case "bidi_streaming":
      return stream;
  }
}

async function* passOn(
  method: DescMethodStreaming,
  transport: Transport,
  messages: AsyncIterable<Message>,
  context: HandlerContext,
): AsyncGenerator<Message> {
  const { signal, requestHeader } = context;
  const input = messages as AsyncIterable<never>;
  const answer = await transport.stream(method, signal, leftMs(context), requestHeader, input);
  copy(answer.header, context.responseHeader);
  try {
    yield* answer.message;
  } catch (thrown) {
    // An error also has the headers of the response, which are already sent.
    const error = ConnectError.from(thrown);
    for (const name of answer.header.keys()) error.metadata.delete(name);
    throw error;
  }
  copy(answer.trailer, context.responseTrailer);
}

/** The remaining time of a call, at least 1: 0 would mean no deadline. */
function leftMs({ timeoutMs }: HandlerContext): number | undefined {
  const left = timeoutMs();
  return left === undefined ? undefined : Math.max(left, 1);
}

function copy(from: Headers, to: Headers): void {
  for (const [name, value] of from) to.append(name, value);
}

async function* only(message: Message): AsyncGenerator<Message> {
  yield message;
}
