import {
  create,
  type DescMessage,
  type DescMethod,
  isMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";

/** What makes a client of a right one that mishandles something: its way to the wire, changed. */
export type Tamper = (transport: Transport) => Transport;

/** Changes each answer of the type `schema`, and the headers that come with it, before the client sees it. */
export function answered<D extends DescMessage>(
  schema: D,
  change: (message: MessageShape<D>, headers: Headers, request: unknown) => void,
): Tamper {
  return (transport) => ({
    async unary(...args) {
      const answer = await transport.unary(...args);
      if (isMessage(answer.message, schema)) change(answer.message, answer.header, args[4]);
      return answer;
    },
    async stream(...args) {
      const answer = await transport.stream(...args);
      const message = mapped(answer.message, (each) => {
        if (isMessage(each, schema)) change(each, answer.header, undefined);
        return each;
      });
      return { ...answer, message };
    },
  });
}

/** Changes each request of the type `schema` before it goes; what it gives undefined for does not go. */
export function asked<D extends DescMessage>(
  schema: D,
  change: (message: MessageShape<D>) => unknown,
): Tamper {
  const changed = (input: unknown, desc: DescMessage) => {
    if (desc.typeName !== schema.typeName) return input;
    const message = create(schema, input as MessageInitShape<D>);
    return change(message) === LOST ? LOST : message;
  };
  return (transport) => ({
    unary: (method, signal, timeoutMs, header, input, values) =>
      transport.unary(
        method,
        signal,
        timeoutMs,
        header,
        changed(input, method.input) as typeof input,
        values,
      ),
    stream: (method, signal, timeoutMs, header, input, values) => {
      const sent = mapped(input, (each) => changed(each, method.input) as typeof each);
      return transport.stream(method, signal, timeoutMs, header, sent, values);
    },
  });
}

/** What `asked` gives for a message that shall not go. */
export const LOST = Symbol("lost");

/** Changes every error that a call fails with; undefined: it ends as if nothing had been wrong. */
export function failed(change: (error: ConnectError) => ConnectError | undefined): Tamper {
  return (transport) => ({
    async unary(method, ...rest) {
      try {
        return await transport.unary(method, ...rest);
      } catch (error) {
        const changed = change(ConnectError.from(error));
        if (changed) throw changed;
        const message = create(method.output);
        const none = { header: new Headers(), trailer: new Headers(), service: method.parent };
        return { ...none, stream: false, method, message } as never;
      }
    },
    async stream(...args) {
      const answer = await transport.stream(...args);
      const quiet = async function* () {
        try {
          yield* answer.message;
        } catch (error) {
          const changed = change(ConnectError.from(error));
          if (changed) throw changed;
        }
      };
      return { ...answer, message: quiet() };
    },
  });
}

/** Answers `method` itself with an empty message: it never reaches the wire. */
export function unsent(unsentMethod: DescMethod): Tamper {
  return (transport) => ({
    ...transport,
    async unary(method, ...rest) {
      if (method.name !== unsentMethod.name) return transport.unary(method, ...rest);
      const none = { header: new Headers(), trailer: new Headers(), service: method.parent };
      return { ...none, stream: false, method, message: create(method.output) } as never;
    },
    async stream(method, ...rest) {
      if (method.name !== unsentMethod.name) return transport.stream(method, ...rest);
      throw new ConnectError("not sent", Code.Internal);
    },
  });
}

async function* mapped<T>(messages: AsyncIterable<T>, change: (message: T) => T): AsyncGenerator<T> {
  for await (const message of messages) {
    const changed = change(message);
    if ((changed as unknown) !== LOST) yield changed;
  }
}
