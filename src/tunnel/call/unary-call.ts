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
import type { CheckMessage } from "../wire/limits.js";
import type { Channel } from "./call.js";
import { errorFromStatus, undecodableResponse } from "./status-error.js";

/** `timeoutMs` is held to here; `toldMs` is what the other end is told. */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  line: Channel,
  check: CheckMessage,
  method: DescMethodUnary<I, O>,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
  toldMs: number | undefined,
  header: HeaderList,
  message: MessageShape<I>,
  needsNewSession = false,
): Promise<UnaryResponse<I, O>> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(ConnectError.from(signal.reason, Code.Canceled));
    const bytes = toBinary(method.input, message);
    const call = new UnaryCall(line, check, method, resolve, reject);
    call.watch(signal, timeoutMs);
    call.stream.send(bytes, true);
    call.stream.pull();
    line.begin({ path: methodPath(method), timeoutMs: toldMs, header, stream: call.stream, needsNewSession });
  });
}

/** A call with one message each way: by far the most, so it has no iteration in it. */
class UnaryCall<I extends DescMessage, O extends DescMessage> implements StreamEvents {
  readonly stream: Stream;
  readonly #line: Channel;
  readonly #method: DescMethodUnary<I, O>;
  readonly #resolve: (response: UnaryResponse<I, O>) => void;
  readonly #reject: (error: ConnectError) => void;
  #header: HeaderList = [];
  #bytes: Uint8Array | undefined;
  #hasMore = false;
  #signal: AbortSignal | undefined;
  #onAbort: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    line: Channel,
    check: CheckMessage,
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
    if (signal) {
      this.#signal = signal;
      this.#onAbort = () => this.#abort(signal);
      signal.addEventListener("abort", this.#onAbort);
    }
    this.#timer = startDeadline(timeoutMs, () => this.#giveUp(deadlineExceeded()));
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
    this.#over();
    if (status.code !== 0) {
      this.#reject(errorFromStatus(status, this.#header));
      return;
    }
    if (!this.#bytes || this.#hasMore) {
      this.#reject(notOne(this.#bytes ? "more than one" : "no"));
      return;
    }
    const method = this.#method;
    try {
      const message = fromBinary(method.output, this.#bytes);
      this.#resolve(new Answered(method, message, this.#header, status.trailers));
    } catch (error) {
      this.#reject(undecodableResponse(error));
    }
  }

  onError(error: ConnectError): void {
    this.#over();
    this.#reject(error);
  }

  onRefused(error: ConnectError): void {
    this.#giveUp(error);
  }

  #abort({ reason }: AbortSignal): void {
    const error = ConnectError.from(reason, Code.Canceled);
    this.#giveUp(error, error.code === Code.DeadlineExceeded ? error.code : Code.Canceled);
  }

  #giveUp(error: ConnectError, code = error.code): void {
    this.#over();
    this.#line.reset(this.stream, code);
    this.#reject(error);
  }

  #over(): void {
    if (this.#onAbort) this.#signal?.removeEventListener("abort", this.#onAbort);
    if (this.#timer) clearTimeout(this.#timer);
  }
}

/** The answer. Most callers look at neither headers nor trailers, and making them takes longer than the rest. */
class Answered<I extends DescMessage, O extends DescMessage> implements UnaryResponse<I, O> {
  readonly stream = false;
  readonly service: DescService;
  readonly method: DescMethodUnary<I, O>;
  readonly message: MessageShape<O>;
  readonly #header: HeaderList;
  readonly #trailers: HeaderList;
  #asHeaders: Headers | undefined;
  #asTrailers: Headers | undefined;

  constructor(
    method: DescMethodUnary<I, O>,
    message: MessageShape<O>,
    header: HeaderList,
    trailers: HeaderList,
  ) {
    this.service = method.parent;
    this.method = method;
    this.message = message;
    this.#header = header;
    this.#trailers = trailers;
  }

  get header(): Headers {
    return (this.#asHeaders ??= toHeaders(this.#header));
  }

  get trailer(): Headers {
    return (this.#asTrailers ??= toHeaders(this.#trailers));
  }
}

const notOne = (count: string): ConnectError =>
  new ConnectError(`protocol error: ${count} message in the answer to a unary call`, Code.Unimplemented);
