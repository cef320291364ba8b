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
import { CALL_ENDED, deadlineExceeded, startDeadline } from "../../rpc/dispatch/call-scope.js";
import type { Admit, AdmittedCall, InterceptorNext, ServedMethod } from "../../rpc/dispatch/served-method.js";
import type { Stoppable } from "../../rpc/dispatch/stoppable-calls.js";
import type { IncomingCall } from "../call/call.js";
import { statusFromError } from "../call/status-error.js";
import { MessageReader } from "../flow/message-reader.js";
import { sendMessages } from "../flow/send-messages.js";
import type { Stream, StreamEvents, StreamUsage } from "../flow/stream.js";
import type { Session } from "../session.js";
import { decodeMessage, type ToDecodeError } from "../wire/decode.js";
import type { CallStatus } from "../wire/frame.js";
import { type CreateHeaders, ResponseWriter } from "./response-writer.js";

/** The options of a dispatcher that concern each call. */
export interface ServerCallOptions {
  readonly admit: Admit | undefined;
  readonly toDecodeError: ToDecodeError | undefined;
  readonly createHeaders: CreateHeaders | undefined;
}

/** A call of the other end while it is answered. */
export class ServerCall implements DispatchedCall, StreamEvents, Stoppable {
  readonly protocolName = "tunnel";
  readonly requestMethod = "POST";
  readonly stream: Stream;
  readonly served: ServedMethod;
  readonly path: string;
  readonly method: DescMethod;
  index = 0;
  abortReason: ConnectError | undefined;
  readonly #settle: () => void;
  readonly #options: ServerCallOptions;
  readonly #response: ResponseWriter;
  readonly #endsAtMs: number;

  #values: ContextValues | undefined;
  #controller: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #admitted: AdmittedCall | undefined;
  #isEnded = false;
  /** Whether the handler was called: the call is settled when the handler has ended. */
  #isRunning = false;
  /** The message of a call that has one. */
  #bytes: Uint8Array | undefined;
  #hasMore = false;
  #messages: MessageReader<never> | undefined;

  constructor(
    session: Session,
    { path, timeoutMs, header }: IncomingCall,
    stream: Stream,
    settle: () => void,
    served: ServedMethod,
    options: ServerCallOptions,
  ) {
    this.path = path;
    this.stream = stream;
    this.#settle = settle;
    this.served = served;
    this.method = served.spec.method;
    this.#response = new ResponseWriter(session, stream, header, options.createHeaders);
    this.#options = options;
    const remainingMs = Math.min(timeoutMs ?? Number.POSITIVE_INFINITY, served.maxTimeoutMs);
    this.#endsAtMs = Date.now() + remainingMs;
    this.#timer = startDeadline(remainingMs, () => this.#abort(deadlineExceeded()));
    served.shutdown?.add(this);
    stream.events = this;
  }

  start(): void {
    if (this.served.shutdown?.signal.aborted) {
      this.stop();
      return;
    }
    try {
      const admitted = this.#options.admit?.(this) ?? {};
      if (admitted instanceof Promise) {
        admitted.then(
          (admitted) => this.#onAdmitted(admitted),
          (error) => this.#endWithError(error),
        );
      } else {
        this.#onAdmitted(admitted);
      }
    } catch (error) {
      this.#endWithError(error);
    }
  }

  // DispatchedCall: for interceptors and the handler.

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
    return this.#response.requestHeader;
  }

  get responseHeader(): Headers {
    return this.#response.header;
  }

  get responseTrailer(): Headers {
    return this.#response.trailer;
  }

  get values(): ContextValues {
    return (this.#values ??= createContextValues());
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.abortReason) this.#controller.abort(this.abortReason);
    }
    return this.#controller.signal;
  }

  timeoutMs(): number | undefined {
    return this.#endsAtMs === Number.POSITIVE_INFINITY ? undefined : this.#endsAtMs - Date.now();
  }

  /** The request of a method with one, else the stream of its requests. */
  get #input(): unknown {
    return (
      this.#messages ??
      decodeMessage(this.method.input, this.#bytes as Uint8Array, this.#options.toDecodeError)
    );
  }

  // StreamEvents: from the caller.

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
    this.#endWithError(
      new ConnectError(`protocol error: ${count} message in a call with one`, Code.Unimplemented),
    );
  }

  onError(error: ConnectError): void {
    this.#abort(error);
  }

  onRefused(error: ConnectError): void {
    this.onError(error);
  }

  /** The server shuts down. Aborts the signal of a handler that runs, which may still respond. */
  stop(): void {
    const error = ConnectError.from(this.served.shutdown?.signal.reason, Code.Unavailable);
    if (this.#isRunning) this.#abortHandler(error);
    else this.#abort(error);
  }

  #onAdmitted(admitted: AdmittedCall): void {
    this.#admitted = admitted;
    if (admitted.values) this.#values = admitted.values;
    if (admitted.header) this.#response.addedHeader = admitted.header;
    // The caller may have reset the call meanwhile.
    if (this.#isEnded) admitted.onEnd?.(this.abortReason?.code ?? Code.Canceled);
    this.#begin();
  }

  #begin(): void {
    if (this.#isEnded) {
      this.#settle();
      return;
    }
    const { methodKind, input } = this.method;
    if (methodKind === "client_streaming" || methodKind === "bidi_streaming") {
      const decode = (bytes: Uint8Array) => decodeMessage(input, bytes, this.#options.toDecodeError);
      this.#messages = new MessageReader(this.stream, decode, () => {}) as MessageReader<never>;
      this.#run();
    } else {
      this.stream.pull();
    }
  }

  #run(): void {
    const { spec, next } = this.served;
    this.#isRunning = true;
    if (!next && spec.kind === "unary") {
      this.#callUnary(spec);
      return;
    }
    const done = next
      ? this.#callWithInterceptors(next)
      : this.#sendAll(() => callStreamingHandler(this, this.#input, this));
    done.then(
      () => this.#settle(),
      (error) => this.#endWithError(error),
    );
  }

  /** The fast path, without interceptors. A handler that returns no promise is not awaited. */
  #callUnary({ impl, method }: UnarySpec): void {
    try {
      const output = impl(this.#input as never, createHandlerContext(this));
      if (isPromise(output)) {
        output.then((message) => this.#respond(method, message)).catch((error) => this.#endWithError(error));
      } else {
        this.#respond(method, output);
      }
    } catch (error) {
      this.#endWithError(error);
    }
  }

  #respond({ output }: DescMethod, message: MessageInitShape<DescMessage>): void {
    this.#end(this.#response.okStatus, toBinary(output, create(output, message)));
    this.#settle();
  }

  async #callWithInterceptors(next: InterceptorNext): Promise<void> {
    const { method } = this;
    const input = this.#input;
    const hasOneRequest = method.methodKind === "server_streaming";
    const response = await next(
      toInterceptedRequest(this, hasOneRequest ? singleMessage(() => input) : input),
    );
    this.#response.replaceHeader(response.header);
    if (response.stream) {
      await this.#sendAll(
        () => response.message,
        () => this.#response.replaceTrailer(response.trailer),
      );
    } else {
      this.#response.replaceTrailer(response.trailer);
      this.#end(this.#response.okStatus, toBinary(method.output, response.message));
    }
  }

  async #sendAll(output: () => AsyncIterable<unknown>, beforeEnd?: () => void): Promise<void> {
    const { method, stream } = this;
    await sendMessages(method.output, output() as AsyncIterable<never>, stream, () =>
      this.#response.sendHeader(),
    );
    beforeEnd?.();
    this.#end(this.#response.okStatus);
  }

  #endWithError(error: unknown): void {
    if (!this.#isEnded) this.#end(this.#response.errorStatus(error));
    this.#settle();
  }

  /** Ends the response: a unary one with its message. */
  #end(status: CallStatus, message?: Uint8Array): void {
    if (this.#isEnded) return;
    this.#response.sendHeader();
    this.#close(status.code);
    if (message) this.#response.sendOnly(message, status);
    else this.stream.end(status);
    this.#messages?.close({ error: new ConnectError("the call has ended", Code.Canceled) });
    this.#controller?.abort(CALL_ENDED);
  }

  /** Ends the call before its handler has. */
  #abort(error: ConnectError): void {
    if (this.#isEnded) return;
    this.#abortHandler(error);
    this.stream.discardIncoming();
    this.#response.sendHeader();
    this.#close(error.code);
    this.stream.end(statusFromError(error));
    if (!this.#isRunning) this.#settle();
  }

  #abortHandler(error: ConnectError): void {
    this.abortReason = error;
    this.#controller?.abort(error);
    this.#messages?.close({ error });
  }

  #close(code: number): void {
    this.#isEnded = true;
    clearTimeout(this.#timer);
    this.served.shutdown?.remove(this);
    this.#admitted?.onEnd?.(code);
  }
}

const isPromise = <T>(output: T | Promise<T>): output is Promise<T> =>
  typeof (output as { then?: unknown } | undefined)?.then === "function";
