import {
  type DescMessage,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type UnaryResponse } from "@connectrpc/connect";
import { type CallLimits, observe } from "../../rpc/dispatch/call-scope.js";
import { methodPath } from "../../rpc/dispatch/method-path.js";
import { Stream, type StreamEvents } from "../flow/stream.js";
import type { CallStatus, HeaderList } from "../wire/frame.js";
import { toHeaders } from "../wire/header-list.js";
import type { CallTarget, Channel } from "./call.js";
import { cancellation, errorFromStatus, undecodableResponse } from "./status-error.js";

/** `limits` are enforced here; `sentTimeoutMs` is the timeout in the CALL frame. */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  target: CallTarget,
  method: DescMethodUnary<I, O>,
  header: HeaderList,
  message: MessageShape<I>,
  limits: CallLimits,
  sentTimeoutMs: number | undefined,
  needsNewSession: boolean,
): Promise<UnaryResponse<I, O>> {
  return new Promise((resolve, reject) => {
    const { signal } = limits;
    if (signal?.aborted) return reject(ConnectError.from(signal.reason, Code.Canceled));
    const bytes = toBinary(method.input, message);
    const { stream } = new UnaryCall(target, method, limits, resolve, reject);
    stream.send(bytes, true);
    stream.pull();
    const path = methodPath(method);
    target.channel.begin({ path, timeoutMs: sentTimeoutMs, header, stream, needsNewSession });
  });
}

/** A call with one message each way. As most calls are, it avoids the cost of async iteration. */
class UnaryCall<I extends DescMessage, O extends DescMessage> implements StreamEvents {
  readonly stream: Stream;
  readonly #channel: Channel;
  readonly #method: DescMethodUnary<I, O>;
  readonly #resolve: (response: UnaryResponse<I, O>) => void;
  readonly #reject: (error: ConnectError) => void;
  readonly #stopObserving: () => void;
  #header: HeaderList = [];
  #bytes: Uint8Array | undefined;
  #hasMore = false;

  constructor(
    { channel, check }: CallTarget,
    method: DescMethodUnary<I, O>,
    limits: CallLimits,
    resolve: (response: UnaryResponse<I, O>) => void,
    reject: (error: ConnectError) => void,
  ) {
    this.#channel = channel;
    this.#method = method;
    this.#resolve = resolve;
    this.#reject = reject;
    this.stream = new Stream(this, check, false);
    this.#stopObserving = observe(limits, (reason) => this.#cancel(...cancellation(reason)));
  }

  onHeaders(header: HeaderList): void {
    this.#header = header;
  }

  onMessage(bytes: Uint8Array): void {
    this.#hasMore = this.#bytes !== undefined;
    this.#bytes = bytes;
    this.stream.pull();
  }

  onEnd(status: CallStatus): void {
    this.#stopObserving();
    if (status.code !== 0) {
      this.#reject(errorFromStatus(status, this.#header));
      return;
    }
    if (!this.#bytes || this.#hasMore) {
      const text = `protocol error: ${this.#bytes ? "more than one" : "no"} message in the answer to a unary call`;
      this.#reject(new ConnectError(text, Code.Unimplemented));
      return;
    }
    const method = this.#method;
    try {
      const message = fromBinary(method.output, this.#bytes);
      this.#resolve(new LazyUnaryResponse(method, message, this.#header, status.trailers));
    } catch (error) {
      this.#reject(undecodableResponse(error));
    }
  }

  onError(error: ConnectError): void {
    this.#stopObserving();
    this.#reject(error);
  }

  onRefused(error: ConnectError): void {
    this.#cancel(error);
  }

  #cancel(error: ConnectError, code = error.code): void {
    this.#channel.reset(this.stream, code);
    this.onError(error);
  }
}

/** Creates its Headers when they are read: most callers read none, and creating them takes longer than the rest. */
class LazyUnaryResponse<I extends DescMessage, O extends DescMessage> implements UnaryResponse<I, O> {
  readonly stream = false;
  readonly service: DescService;
  readonly method: DescMethodUnary<I, O>;
  readonly message: MessageShape<O>;
  readonly #headerList: HeaderList;
  readonly #trailerList: HeaderList;
  #header: Headers | undefined;
  #trailer: Headers | undefined;

  constructor(
    method: DescMethodUnary<I, O>,
    message: MessageShape<O>,
    header: HeaderList,
    trailers: HeaderList,
  ) {
    this.service = method.parent;
    this.method = method;
    this.message = message;
    this.#headerList = header;
    this.#trailerList = trailers;
  }

  get header(): Headers {
    return (this.#header ??= toHeaders(this.#headerList));
  }

  get trailer(): Headers {
    return (this.#trailer ??= toHeaders(this.#trailerList));
  }
}
