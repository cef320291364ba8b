import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  createContextValues,
  type Interceptor,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";
import { errorOf } from "./error.js";
import type { HeaderList, Status } from "./frame.js";
import { headersOf, listOf } from "./header-list.js";
import { Messages } from "./messages.js";
import { pump } from "./pump.js";
import { atMost, type OutgoingCall } from "./session.js";
import { Stream, type StreamEvents } from "./stream.js";

/** What takes calls: a session, or what has one now and then. */
export interface Line {
  begin(call: OutgoingCall): void;
  giveUp(stream: Stream, code: Code): void;
}

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

/** The calling end: Connect's transport over a line. */
export function createCaller(
  line: Line,
  {
    interceptors = [],
    defaultTimeoutMs,
    messageBytes = 64 * 1024 * 1024,
    baseUrl = "tunnel:",
  }: CallerOptions = {},
): Transport {
  const check = atMost(messageBytes);
  const timeoutOf = (timeoutMs: number | undefined) => {
    const chosen = timeoutMs ?? defaultTimeoutMs;
    // Connect takes 0 and less for no deadline at all.
    return chosen !== undefined && chosen > 0 ? Math.ceil(chosen) : undefined;
  };
  const around = <Next>(next: Next): Next =>
    interceptors.reduceRight((inner, interceptor) => interceptor(inner as never) as never, next);
  const requestOf = (method: DescMethodUnary | DescMethodStreaming, header: HeadersInit | undefined) => ({
    service: method.parent,
    requestMethod: "POST",
    url: baseUrl + pathOf(method),
    header: new Headers(header),
  });

  return {
    unary(method, signal, timeoutMs, header, input, contextValues) {
      const timeout = timeoutOf(timeoutMs);
      const message = create(method.input, input);
      if (interceptors.length === 0) {
        return callUnary(line, check, method, signal, timeout, timeout, listOf(header), message);
      }
      const scope = new Scope(signal, timeout);
      const call = around((request: { header: Headers; message: typeof message; signal: AbortSignal }) =>
        callUnary(
          line,
          check,
          method,
          request.signal,
          undefined,
          timeout,
          listOf(request.header),
          request.message,
        ),
      );
      return scope.around(
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
      const timeout = timeoutOf(timeoutMs);
      const scope = new Scope(signal, timeout);
      const call = around(
        (request: { header: Headers; message: AsyncIterable<never>; signal: AbortSignal }) =>
          callStream(line, check, method, request.signal, timeout, listOf(request.header), request.message),
      );
      const response = await scope.around(
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
      return { ...response, message: scope.through(response.message) };
    },
  };
}

const paths = new WeakMap<DescMethodUnary | DescMethodStreaming, string>();

function pathOf(method: DescMethodUnary | DescMethodStreaming): string {
  let path = paths.get(method);
  if (path === undefined) paths.set(method, (path = `/${method.parent.typeName}/${method.name}`));
  return path;
}

type Check = ReturnType<typeof atMost>;

/** `timeoutMs` is held to here; `toldMs` is what the other end is told. */
function callUnary<I extends DescMessage, O extends DescMessage>(
  line: Line,
  check: Check,
  method: DescMethodUnary<I, O>,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
  toldMs: number | undefined,
  header: HeaderList,
  message: MessageShape<I>,
): Promise<UnaryResponse<I, O>> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(ConnectError.from(signal.reason, Code.Canceled));
    const call = new UnaryCall(line, check, method, resolve, reject);
    call.watch(signal, timeoutMs);
    call.stream.send(toBinary(method.input, message), true);
    call.stream.pull();
    line.begin({ path: pathOf(method), timeoutMs: toldMs, header, stream: call.stream });
  });
}

/** A call with one message each way: by far the most, so it has no iteration in it. */
class UnaryCall<I extends DescMessage, O extends DescMessage> implements StreamEvents {
  readonly stream: Stream;
  readonly #line: Line;
  readonly #method: DescMethodUnary<I, O>;
  readonly #resolve: (response: UnaryResponse<I, O>) => void;
  readonly #reject: (error: ConnectError) => void;
  #header: HeaderList = [];
  #bytes: Uint8Array | undefined;
  #hasMore = false;
  #signal: AbortSignal | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    line: Line,
    check: Check,
    method: DescMethodUnary<I, O>,
    resolve: (response: UnaryResponse<I, O>) => void,
    reject: (error: ConnectError) => void,
  ) {
    this.#line = line;
    this.#method = method;
    this.#resolve = resolve;
    this.#reject = reject;
    this.stream = new Stream(this, check, false);
  }

  watch(signal: AbortSignal | undefined, timeoutMs: number | undefined): void {
    this.#signal = signal;
    signal?.addEventListener("abort", this.#abort);
    if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.#giveUp(late()), timeoutMs);
  }

  headers(header: HeaderList): void {
    this.#header = [...this.#header, ...header];
  }

  message(bytes: Uint8Array): void {
    this.#hasMore = this.#bytes !== undefined;
    this.#bytes = bytes;
    this.stream.pull();
  }

  ended(status: Status): void {
    this.#over();
    if (status.code !== 0) {
      this.#reject(errorOf(status, this.#header));
      return;
    }
    if (!this.#bytes || this.#hasMore) {
      this.#reject(notOne(this.#bytes ? "more than one" : "no"));
      return;
    }
    const header = this.#header;
    const { trailers } = status;
    const method = this.#method;
    let message: MessageShape<O>;
    try {
      message = fromBinary(method.output, this.#bytes);
    } catch (error) {
      this.#reject(unreadable(error));
      return;
    }
    let asHeaders: Headers | undefined;
    let asTrailers: Headers | undefined;
    this.#resolve({
      stream: false,
      service: method.parent,
      method,
      message,
      // Most callers look at neither, and making them takes longer than the rest.
      get header() {
        return (asHeaders ??= headersOf(header));
      },
      get trailer() {
        return (asTrailers ??= headersOf(trailers));
      },
    });
  }

  failed(error: ConnectError): void {
    this.#over();
    this.#reject(error);
  }

  refused(error: ConnectError): void {
    this.#giveUp(error);
  }

  readonly #abort = (): void => {
    const error = ConnectError.from(this.#signal?.reason, Code.Canceled);
    this.#giveUp(error, error.code === Code.DeadlineExceeded ? error.code : Code.Canceled);
  };

  #giveUp(error: ConnectError, code = error.code): void {
    this.#over();
    this.#line.giveUp(this.stream, code);
    this.#reject(error);
  }

  #over(): void {
    this.#signal?.removeEventListener("abort", this.#abort);
    clearTimeout(this.#timer);
  }
}

/** Resolves with the first that comes of the answer: headers, a message or the end. */
function callStream<I extends DescMessage, O extends DescMessage>(
  line: Line,
  check: Check,
  method: DescMethodStreaming<I, O>,
  signal: AbortSignal,
  timeoutMs: number | undefined,
  header: HeaderList,
  input: AsyncIterable<MessageInitShape<I>>,
): Promise<StreamResponse<I, O>> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(ConnectError.from(signal.reason, Code.Canceled));
    let answered: HeaderList = [];
    const asTrailers = new Headers();
    let hasBegun = false;
    const begun = () => {
      if (hasBegun) return;
      hasBegun = true;
      resolve({
        stream: true,
        service: method.parent,
        method,
        header: headersOf(answered),
        trailer: asTrailers,
        message: messages,
      });
    };
    const giveUp = (error: ConnectError, code: Code = Code.Canceled) => {
      signal.removeEventListener("abort", abort);
      line.giveUp(stream, code);
      fail(error);
    };
    const fail = (error: ConnectError) => {
      signal.removeEventListener("abort", abort);
      messages.close({ error });
      if (!hasBegun) reject(error);
      hasBegun = true;
    };
    const abort = () => {
      const error = ConnectError.from(signal.reason, Code.Canceled);
      giveUp(error, error.code === Code.DeadlineExceeded ? error.code : Code.Canceled);
    };
    const stream: Stream = new Stream(
      {
        headers: (header) => {
          answered = [...answered, ...header];
          begun();
        },
        message: (bytes) => {
          messages.push(bytes);
          begun();
        },
        ended: (status) => {
          signal.removeEventListener("abort", abort);
          if (status.code === 0) {
            for (const [name, value] of status.trailers) asTrailers.append(name, value);
            messages.close();
          } else {
            const error = errorOf(status, answered);
            messages.close({ error });
            // Nothing came before it: there is no answer to be read.
            if (!hasBegun) reject(error);
            hasBegun = true;
          }
          begun();
        },
        failed: fail,
        refused: (error) => giveUp(error, error.code),
      },
      check,
      false,
    );
    const messages = new Messages<MessageShape<O>>(
      stream,
      (bytes) => {
        try {
          return fromBinary(method.output, bytes);
        } catch (error) {
          line.giveUp(stream, Code.Canceled);
          throw unreadable(error);
        }
      },
      () => giveUp(new ConnectError("the reader left", Code.Canceled)),
    );
    signal.addEventListener("abort", abort);
    // An answer without headers begins with its first message.
    stream.pull();
    line.begin({ path: pathOf(method), timeoutMs, header, stream });
    pump(input, stream, (message) => toBinary(method.input, create(method.input, message))).then(
      () => stream.end(),
      (error) => giveUp(ConnectError.from(error)),
    );
  });
}

/** The time that a call has, and the signal that its interceptors and its request see. */
class Scope {
  readonly #controller = new AbortController();
  readonly #signal: AbortSignal | undefined;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(signal: AbortSignal | undefined, timeoutMs: number | undefined) {
    this.#signal = signal;
    if (signal?.aborted) this.#abort();
    else signal?.addEventListener("abort", this.#abort);
    if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.#controller.abort(late()), timeoutMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The outcome of the call, which ends the scope if it fails, or if that is `all`. */
  async around<T>(outcome: Promise<T>, all: boolean): Promise<T> {
    try {
      const result = await outcome;
      if (all) this.#end();
      return result;
    } catch (error) {
      const { aborted, reason } = this.signal;
      this.#end(error);
      throw aborted ? ConnectError.from(reason, Code.Canceled) : ConnectError.from(error);
    }
  }

  /** Messages with whose end the scope ends, also where the reader leaves. */
  through<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
    return {
      [Symbol.asyncIterator]: () => {
        const inner = messages[Symbol.asyncIterator]();
        const leave = (): IteratorResult<T> => {
          this.#end(new ConnectError("the reader left", Code.Canceled));
          return { done: true, value: undefined };
        };
        return {
          next: () =>
            inner.next().then(
              (step) => {
                if (step.done) this.#end();
                return step;
              },
              (error) => {
                const { aborted, reason } = this.signal;
                this.#end(error);
                throw aborted ? ConnectError.from(reason, Code.Canceled) : ConnectError.from(error);
              },
            ),
          return: async (value) => {
            const over = leave();
            await inner.return?.(value);
            return over;
          },
        };
      },
    };
  }

  readonly #abort = (): void => {
    this.#controller.abort(this.#signal?.reason);
    this.#end();
  };

  #end(reason?: unknown): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
    if (!this.signal.aborted) this.#controller.abort(reason);
  }
}

const late = (): ConnectError => new ConnectError("the operation timed out", Code.DeadlineExceeded);

const notOne = (count: string): ConnectError =>
  new ConnectError(`protocol error: ${count} message in the answer to a unary call`, Code.Unimplemented);

const unreadable = (error: unknown): ConnectError =>
  new ConnectError(
    `cannot read a message of the answer: ${error}`,
    Code.Internal,
    undefined,
    undefined,
    error,
  );
