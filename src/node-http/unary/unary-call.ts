import { create, type DescMethodUnary, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues, createContextValues } from "@connectrpc/connect";
import {
  createHandlerContext,
  type DispatchedCall,
  toInterceptedRequest,
  type UnarySpec,
} from "../../rpc/dispatch/call-context.js";
import { CALL_ENDED, deadlineExceeded, startDeadline } from "../../rpc/dispatch/call-scope.js";
import type { AdmittedCall, CallBytes, InterceptedResponse } from "../../rpc/dispatch/served-method.js";
import type { Stoppable } from "../../rpc/dispatch/stoppable-calls.js";
import { LazyHeaders } from "../../rpc/lazy-headers.js";
import type { Exchange, ExchangeEvents, UnaryResponse } from "./exchange.js";
import { messageIn, RequestBody } from "./request-body.js";
import type { Sending } from "./stalled-responses.js";
import { encodeResponse } from "./unary-response.js";
import type { UnaryRoute } from "./unary-route.js";

/** A unary call over HTTP, from its headers to its response. */
export class UnaryCall implements DispatchedCall, ExchangeEvents, Stoppable {
  readonly exchange: Exchange;
  readonly served: DispatchedCall["served"];
  readonly method: DescMethodUnary;
  readonly header: LazyHeaders;
  usage: CallBytes | undefined;
  index = 0;
  readonly #route: UnaryRoute;
  readonly #body: RequestBody;
  readonly #endsAtMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #values: ContextValues | undefined;
  #admitted: AdmittedCall | undefined;
  #controller: AbortController | undefined;
  /** Why the call ended before its response was sent. */
  #aborted: ConnectError | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #sentBytes = 0;
  #sending: Sending | undefined;
  #isRunning = false;
  #isResponded = false;
  #isClosed = false;

  constructor(route: UnaryRoute, exchange: Exchange) {
    this.#route = route;
    this.exchange = exchange;
    this.#body = new RequestBody(route);
    this.served = route.method.served;
    this.method = route.method.served.spec.method as DescMethodUnary;
    this.header = new LazyHeaders(exchange.headers);
    const { timeoutMs } = route;
    this.#endsAtMs = timeoutMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeoutMs;
  }

  /** Admits the call, and answers it when its body has arrived. */
  start(connection: never): void {
    const { shutdown } = this.served;
    this.exchange.start(this);
    if (shutdown?.signal.aborted) {
      this.stop();
      return;
    }
    shutdown?.add(this);
    this.#timer = startDeadline(this.#route.timeoutMs, () => this.#abort(deadlineExceeded()));
    try {
      const admitted = this.#route.handler.admit?.(this, connection);
      if (admitted instanceof Promise) {
        admitted.then(
          (resolved) => this.#begin(resolved),
          (error) => this.#refuse(error),
        );
      } else {
        this.#begin(admitted);
      }
    } catch (error) {
      this.#refuse(error);
    }
  }

  // The call as its interceptors and its handler see it.

  get path(): string {
    return this.#route.method.path;
  }

  get protocolName(): string {
    return this.#route.format.protocol;
  }

  get requestMethod(): string {
    return this.exchange.method;
  }

  get url(): string {
    const { scheme, host, url } = this.exchange;
    return `${scheme}://${host}${url}`;
  }

  get responseHeader(): Headers {
    return (this.#responseHeader ??= new LazyHeaders());
  }

  get responseTrailer(): Headers {
    return (this.#responseTrailer ??= new LazyHeaders());
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

  get abortReason(): ConnectError | undefined {
    return this.#aborted ?? (this.#isResponded ? CALL_ENDED : undefined);
  }

  timeoutMs(): number | undefined {
    return this.#endsAtMs === Number.POSITIVE_INFINITY ? undefined : this.#endsAtMs - Date.now();
  }

  // ExchangeEvents

  data(chunk: Uint8Array): void {
    if (this.#isResponded) return;
    const refusal = this.#body.add(chunk, this.usage);
    if (refusal) this.#fail(refusal);
  }

  end(): void {
    if (this.#isResponded) return;
    this.#run(this.#body.take(this.usage));
  }

  closed(): void {
    this.#isClosed = true;
    if (!this.#isResponded) {
      const error = this.exchange.closeError;
      this.#aborted = error;
      this.#controller?.abort(error);
      this.#end(error.code);
    }
    this.usage?.addLeaving(-this.#sentBytes);
    if (this.#sending) this.#route.handler.stalls.remove(this.#sending);
  }

  broken(error: unknown): void {
    this.#route.handler.onBroken?.(error, this.path.slice(1));
    this.exchange.reset();
  }

  // Stoppable

  /** The server shuts down: a handler that is running may still respond. */
  stop(): void {
    const error = ConnectError.from(this.served.shutdown?.signal.reason, Code.Unavailable);
    if (this.#isRunning) {
      this.#aborted = error;
      this.#controller?.abort(error);
    } else {
      this.#abort(error);
    }
  }

  // The steps of a call.

  #begin(admitted: AdmittedCall | undefined): void {
    this.#admitted = admitted;
    if (admitted?.values) this.#values = admitted.values;
    if (this.#isResponded) {
      // It ended while it was being admitted.
      admitted?.onEnd?.(this.#aborted?.code ?? Code.Canceled);
      return;
    }
    const { urlMessage } = this.#route;
    if (urlMessage) this.#run(urlMessage);
    else this.exchange.read();
  }

  #run(body: Uint8Array): void {
    try {
      const message = messageIn(body, this.#route);
      if (message instanceof Promise) {
        message.then((bytes) => this.#invoke(bytes)).catch((error) => this.#fail(error));
      } else {
        this.#invoke(message);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #invoke(bytes: Uint8Array): void {
    // It may have ended while its message was decompressed.
    if (this.#isResponded) return;
    const message = this.#route.parse(bytes);
    this.#isRunning = true;
    const { next, spec } = this.served;
    if (next) {
      next(toInterceptedRequest(this, message)).then(
        (response) => this.#succeed(response),
        (error) => this.#fail(error),
      );
    } else {
      Promise.resolve((spec as UnarySpec).impl(message as never, createHandlerContext(this)))
        .then((output) => this.#respond(this.#serialized(create(this.method.output, output)), undefined))
        .catch((error) => this.#fail(error));
    }
  }

  #succeed(response: InterceptedResponse): void {
    try {
      if (response.stream) throw new ConnectError("a unary call has a stream of responses", Code.Internal);
      // An interceptor may return other headers than it was given.
      if (response.header !== this.#responseHeader) this.#responseHeader = response.header;
      if (response.trailer !== this.#responseTrailer) this.#responseTrailer = response.trailer;
      this.#respond(this.#serialized(response.message), undefined);
    } catch (error) {
      this.#fail(error);
    }
  }

  #serialized(message: Message): Uint8Array {
    const { method, format } = this.#route;
    return method.serialization.getO(format.isBinary).serialize(message);
  }

  /** Responds to a call that was not admitted. What the error says about HTTP belongs in the headers, too. */
  #refuse(error: unknown): void {
    if (error instanceof ConnectError) {
      error.metadata.forEach((value, name) => {
        this.responseHeader.set(name, value);
      });
    }
    this.#fail(error);
  }

  #fail(thrown: unknown): void {
    const error =
      thrown instanceof ConnectError
        ? thrown
        : new ConnectError("internal error", Code.Internal, undefined, undefined, thrown);
    this.#respond(undefined, error);
  }

  /** The call ends before its handler does. */
  #abort(error: ConnectError): void {
    if (this.#isResponded) return;
    this.#aborted = error;
    this.#controller?.abort(error);
    this.#respond(undefined, error);
  }

  #respond(message: Uint8Array | undefined, error: ConnectError | undefined): void {
    if (this.#isResponded) return;
    this.#end(error?.code ?? 0);
    if (!this.#aborted) this.#controller?.abort(error ?? CALL_ENDED);
    if (this.#isClosed) return;
    try {
      for (const [name, value] of this.#admitted?.header ?? []) this.responseHeader.set(name, value);
      const result = { message, error, header: this.#responseHeader, trailer: this.#trailerIfAny() };
      const response = this.#route.encode(result);
      if (response instanceof Promise) {
        response.then(
          (compressed) => this.#send(compressed),
          (failure) => this.#sendError(failure),
        );
      } else {
        this.#send(response);
      }
    } catch (failure) {
      this.#sendError(failure);
    }
  }

  /** The response cannot be encoded or compressed: an error detail that does not fit its type, for instance. */
  #sendError(failure: unknown): void {
    this.#route.handler.onBroken?.(failure, this.path.slice(1));
    const error = new ConnectError("internal error", Code.Internal, undefined, undefined, failure);
    const result = { message: undefined, error, header: this.#responseHeader, trailer: undefined };
    const response = encodeResponse(result, { ...this.#route.encoding, compression: undefined });
    this.#send(response as UnaryResponse);
  }

  #send(response: UnaryResponse): void {
    if (this.#isClosed) return;
    this.#sentBytes = response.body?.length ?? 0;
    this.usage?.addLeaving(this.#sentBytes);
    this.#sending = this.#route.handler.stalls.add(this.exchange, this.path);
    try {
      this.#route.finish?.(response);
      this.exchange.respond(response);
    } catch (error) {
      // Headers that HTTP does not allow, for instance.
      this.broken(error);
    }
  }

  #trailerIfAny(): Headers | undefined {
    const trailer = this.#responseTrailer;
    return trailer && !trailer.keys().next().done ? trailer : undefined;
  }

  #end(code: number): void {
    this.#isResponded = true;
    clearTimeout(this.#timer);
    this.served.shutdown?.remove(this);
    this.#body.drop(this.usage);
    this.#admitted?.onEnd?.(code);
  }
}
