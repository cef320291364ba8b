import {
  create,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues, createContextValues } from "@connectrpc/connect";
import {
  callStreamingHandler,
  createHandlerContext,
  type DispatchedCall,
  singleMessage,
  toInterceptedRequest,
  type UnarySpec,
} from "../../rpc/dispatch/call-context.js";
import { deadlineExceeded, startDeadline } from "../../rpc/dispatch/call-scope.js";
import type { Admit, AdmittedCall, InterceptorNext, ServedMethod } from "../../rpc/dispatch/served-method.js";
import type { Stoppable } from "../../rpc/dispatch/shutdown.js";
import type { IncomingCall } from "../call/call.js";
import { statusFromError } from "../call/status-error.js";
import { MessageReader } from "../flow/message-reader.js";
import { sendMessages } from "../flow/send-messages.js";
import type { Stream, StreamEvents, StreamUsage } from "../flow/stream.js";
import type { Session } from "../session.js";
import { decodeMessage, type ToDecodeError } from "../wire/decode.js";
import { type CallStatus, OK_STATUS } from "../wire/frame.js";
import { toHeaderList } from "../wire/header-list.js";
import { AnswerHeaders } from "./answer-headers.js";

/** One call as it is answered. */
export class ServerCall implements DispatchedCall, StreamEvents, Stoppable {
  readonly protocolName = "tunnel";
  readonly requestMethod = "POST";
  readonly stream: Stream;
  readonly served: ServedMethod;
  readonly path: string;
  readonly method: DescMethod;
  index = 0;
  readonly #session: Session;
  readonly #settle: () => void;
  readonly #admit: Admit | undefined;
  readonly #malformed: ToDecodeError | undefined;
  readonly #headers: AnswerHeaders;
  readonly #endsAtMs: number;

  #values: ContextValues | undefined;
  #controller: AbortController | undefined;
  #aborted: { reason: unknown } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #admitted: AdmittedCall | undefined;
  #isAnswered = false;
  #hasSentHeader = false;
  /** Whether the handler has been called: the call is settled when that has ended. */
  #isRunning = false;
  /** The one message of a call that has one. */
  #bytes: Uint8Array | undefined;
  #hasMore = false;
  #messages: MessageReader<never> | undefined;

  constructor(
    session: Session,
    { path, timeoutMs, header }: IncomingCall,
    stream: Stream,
    settle: () => void,
    served: ServedMethod,
    { admit, malformed }: { admit: Admit | undefined; malformed: ToDecodeError | undefined },
  ) {
    this.#session = session;
    this.path = path;
    this.stream = stream;
    this.#settle = settle;
    this.served = served;
    this.method = served.spec.method;
    this.#headers = new AnswerHeaders(header);
    this.#admit = admit;
    this.#malformed = malformed;
    const leftMs = Math.min(timeoutMs ?? Number.POSITIVE_INFINITY, served.maxTimeoutMs);
    this.#endsAtMs = Date.now() + leftMs;
    this.#timer = startDeadline(leftMs, () => this.#abort(deadlineExceeded()));
    served.shutdown?.add(this);
    stream.events = this;
  }

  start(): void {
    if (this.served.shutdown?.signal.aborted) {
      this.stop();
      return;
    }
    if (!this.#admit) {
      this.#begin();
      return;
    }
    try {
      const admitted = this.#admit(this);
      if (!(admitted instanceof Promise)) {
        this.#letIn(admitted);
        return;
      }
      admitted.then(
        (admitted) => this.#letIn(admitted),
        (error) => this.#refuse(error),
      );
    } catch (error) {
      this.#refuse(error);
    }
  }

  #refuse(error: unknown): void {
    this.#finish(error);
    this.#settle();
  }

  // What a handler sees of it.

  get url(): string {
    return `tunnel:${this.path}`;
  }

  get usage(): StreamUsage | undefined {
    return this.stream.usage;
  }

  set usage(usage: StreamUsage | undefined) {
    this.stream.usage = usage;
  }

  get header(): Headers {
    return this.#headers.request;
  }

  get responseHeader(): Headers {
    return this.#headers.response;
  }

  get responseTrailer(): Headers {
    return this.#headers.trailer;
  }

  get values(): ContextValues {
    return (this.#values ??= createContextValues());
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  timeoutMs(): number | undefined {
    return this.#endsAtMs === Number.POSITIVE_INFINITY ? undefined : this.#endsAtMs - Date.now();
  }

  /** The request of a method with one message, the messages of one with several. */
  get input(): unknown {
    return this.#messages ?? decodeMessage(this.method.input, this.#bytes as Uint8Array, this.#malformed);
  }

  // StreamEvents: what the caller does.

  onMessage(bytes: Uint8Array): void {
    if (this.#messages) {
      this.#messages.push(bytes);
      return;
    }
    this.#hasMore = this.#bytes !== undefined;
    this.#bytes = bytes;
    this.stream.pull();
  }

  onEnd({ code, text }: CallStatus): void {
    if (code !== 0) {
      this.#abort(new ConnectError(text, code));
      return;
    }
    if (this.#messages) {
      this.#messages.close();
      return;
    }
    if (this.#bytes && !this.#hasMore) {
      this.#run();
      return;
    }
    const count = this.#bytes ? "more than one" : "no";
    this.#refuse(new ConnectError(`protocol error: ${count} message in a call with one`, Code.Unimplemented));
  }

  onError(error: ConnectError): void {
    this.#abort(error);
  }

  onRefused(error: ConnectError): void {
    this.#abort(error);
  }

  // How it goes.

  #letIn(admitted: AdmittedCall): void {
    this.#admitted = admitted;
    if (admitted.values) this.#values = admitted.values;
    if (admitted.header) this.#headers.added = admitted.header;
    // It may have been given up while it was asked for.
    if (this.#isAnswered) admitted.onEnd?.(codeOf(this.#aborted?.reason));
    this.#begin();
  }

  #begin(): void {
    if (this.#isAnswered) {
      this.#settle();
      return;
    }
    const { methodKind, input } = this.method;
    if (methodKind === "client_streaming" || methodKind === "bidi_streaming") {
      const read = (bytes: Uint8Array) => decodeMessage(input, bytes, this.#malformed);
      this.#messages = new MessageReader(this.stream, read, () => {}) as MessageReader<never>;
      this.#run();
    } else {
      this.stream.pull();
    }
  }

  #run(): void {
    const { spec, next } = this.served;
    this.#isRunning = true;
    if (!next && spec.kind === "unary") {
      this.#answerOne(spec);
      return;
    }
    const done = next
      ? this.#through(next)
      : this.#answerAll(() => callStreamingHandler(this, this.input, this));
    done.then(
      () => this.#settle(),
      (error) => this.#refuse(error),
    );
  }

  /** The quick way, where nothing is around the handler: one that answers at once is not waited for. */
  #answerOne({ impl, method }: UnarySpec): void {
    try {
      const answer = impl(this.input as never, createHandlerContext(this));
      if (isLater(answer)) {
        answer.then((later) => this.#answered(method, later)).then(undefined, (error) => this.#refuse(error));
      } else {
        this.#answered(method, answer);
      }
    } catch (error) {
      this.#refuse(error);
    }
  }

  #answered({ output }: DescMethod, answer: MessageInitShape<DescMessage>): void {
    this.#finishWith(toBinary(output, create(output, answer)));
    this.#settle();
  }

  async #through(next: InterceptorNext): Promise<void> {
    const { method, input } = this;
    const isOne = method.methodKind === "server_streaming";
    const response = await next(toInterceptedRequest(this, isOne ? singleMessage(() => input) : input));
    this.#headers.replaceResponse(response.header);
    if (response.stream) {
      await this.#answerAll(
        () => response.message,
        () => this.#headers.replaceTrailer(response.trailer),
      );
    } else {
      this.#headers.replaceTrailer(response.trailer);
      this.#finishWith(toBinary(method.output, response.message));
    }
  }

  async #answerAll(output: () => AsyncIterable<unknown>, atEnd?: () => void): Promise<void> {
    const { method, stream } = this;
    await sendMessages(method.output, output() as AsyncIterable<never>, stream, () => this.#sendHeader());
    atEnd?.();
    this.#finish();
  }

  /** Answers, unless that has been done: `thrown` is what the handler ended with, if not well. */
  #finish(...thrown: [unknown?]): void {
    if (this.#isAnswered) return;
    this.#sendHeader();
    const how =
      thrown.length > 0 ? statusFromError(thrown[0], this.#headers.trailerIfAny) : this.#wellStatus();
    this.#over(how.code);
    this.stream.end(how);
    this.#messages?.close({ error: new ConnectError("the call has ended", Code.Canceled) });
    this.#tellAborted();
  }

  #finishWith(message: Uint8Array): void {
    if (this.#isAnswered) return;
    this.#sendHeader();
    const how = this.#wellStatus();
    this.#over(0);
    if (how.trailers.length === 0) {
      this.stream.send(message, true);
    } else {
      this.stream.send(message);
      this.stream.end(how);
    }
    this.#tellAborted();
  }

  #wellStatus(): CallStatus {
    const { trailerIfAny } = this.#headers;
    return trailerIfAny ? { ...OK_STATUS, trailers: toHeaderList(trailerIfAny) } : OK_STATUS;
  }

  #sendHeader(): void {
    if (this.#hasSentHeader) return;
    this.#hasSentHeader = true;
    this.#session.sendHeaders(this.stream, this.#headers.toSend);
  }

  /** The call ends before its handler does. */
  #abort(error: ConnectError): void {
    if (this.#isAnswered) return;
    this.#aborted = { reason: error };
    this.#controller?.abort(error);
    this.#messages?.close({ error });
    this.stream.discardIncoming();
    this.#sendHeader();
    this.#over(error.code);
    this.stream.end(statusFromError(error));
    if (!this.#isRunning) this.#settle();
  }

  /** The server stops: a handler that is told to end may still say something first. */
  stop(): void {
    const error = ConnectError.from(this.served.shutdown?.signal.reason, Code.Unavailable);
    if (!this.#isRunning) {
      this.#abort(error);
      return;
    }
    this.#aborted = { reason: error };
    this.#controller?.abort(error);
    this.#messages?.close({ error });
  }

  #over(code: number): void {
    this.#isAnswered = true;
    clearTimeout(this.#timer);
    this.served.shutdown?.remove(this);
    this.#admitted?.onEnd?.(code);
  }

  /** A handler that goes on behind its answer hears that it is over. */
  #tellAborted(): void {
    this.#controller?.abort(OVER);
  }
}

const isLater = <T>(answer: T | Promise<T>): answer is Promise<T> =>
  typeof (answer as { then?: unknown } | undefined)?.then === "function";

/** Why the signal of a call aborts that has been answered. One for all: a DOMException each time would cost more than the call. */
const OVER = new ConnectError("the call is over", Code.Canceled);

const codeOf = (reason: unknown): number => (reason instanceof ConnectError ? reason.code : Code.Canceled);
