import {
  type DescMessage,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type UnaryResponse } from "@connectrpc/connect";
import { deadlineExceeded, startDeadline } from "../../rpc/dispatch/call-scope.js";
import { methodPath } from "../../rpc/dispatch/method-path.js";
import { Stream, type StreamEvents } from "../flow/stream.js";
import type { CallStatus, HeaderList } from "../wire/frame.js";
import { toHeaders } from "../wire/header-list.js";
import type { CallTarget, Channel } from "./call.js";
import { errorFromStatus, undecodableResponse } from "./status-error.js";

/** `timeoutMs` is enforced here; `sentTimeoutMs` is the timeout in the CALL frame. */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  target: CallTarget,
  method: DescMethodUnary<I, O>,
  header: HeaderList,
  message: MessageShape<I>,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
  sentTimeoutMs: number | undefined,
  needsNewSession: boolean,
): Promise<UnaryResponse<I, O>> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(ConnectError.from(signal.reason, Code.Canceled));
    const bytes = toBinary(method.input, message);
    const { stream } = new UnaryCall(target, method, signal, timeoutMs, resolve, reject);
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
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort: (() => void) | undefined;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  #header: HeaderList = [];
  #bytes: Uint8Array | undefined;
  #hasMore = false;

  constructor(
    { channel, check }: CallTarget,
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    resolve: (response: UnaryResponse<I, O>) => void,
    reject: (error: ConnectError) => void,
  ) {
    this.#channel = channel;
    this.#method = method;
    this.#resolve = resolve;
    this.#reject = reject;
    this.stream = new Stream(this, check, false);
    if (signal) {
      this.#signal = signal;
      this.#onAbort = () => this.#abort(signal);
      signal.addEventListener("abort", this.#onAbort);
    }
    this.#timer = startDeadline(timeoutMs, () => this.#cancel(deadlineExceeded()));
  }

  onHeaders(header: HeaderList): void {
    this.#header = [...this.#header, ...header];
  }

  onMessage(bytes: Uint8Array): void {
    this.#hasMore = this.#bytes !== undefined;
    this.#bytes = bytes;
    this.stream.pull();
  }

  onEnd(status: CallStatus): void {
    this.#cleanUp();
    if (status.code !== 0) {
      this.#reject(errorFromStatus(status, this.#header));
      return;
    }
    if (!this.#bytes || this.#hasMore) {
      this.#reject(notOneMessage(this.#bytes ? "more than one" : "no"));
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
    this.#cleanUp();
    this.#reject(error);
  }

  onRefused(error: ConnectError): void {
    this.#cancel(error);
  }

  #abort({ reason }: AbortSignal): void {
    const error = ConnectError.from(reason, Code.Canceled);
    this.#cancel(error, error.code === Code.DeadlineExceeded ? error.code : Code.Canceled);
  }

  #cancel(error: ConnectError, code = error.code): void {
    this.#cleanUp();
    this.#channel.reset(this.stream, code);
    this.#reject(error);
  }

  #cleanUp(): void {
    if (this.#onAbort) this.#signal?.removeEventListener("abort", this.#onAbort);
    if (this.#timer) clearTimeout(this.#timer);
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

const notOneMessage = (count: string): ConnectError =>
  new ConnectError(`protocol error: ${count} message in the answer to a unary call`, Code.Unimplemented);
