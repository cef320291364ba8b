import {
  type DescMessage,
  type DescMethodStreaming,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse } from "@connectrpc/connect";
import { type CallLimits, observe } from "../../rpc/dispatch/call-scope.js";
import { methodPath } from "../../rpc/dispatch/method-path.js";
import { MessageReader } from "../flow/message-reader.js";
import { sendMessages } from "../flow/send-messages.js";
import { Stream, type StreamEvents } from "../flow/stream.js";
import type { CallStatus, HeaderList } from "../wire/frame.js";
import { toHeaders } from "../wire/header-list.js";
import type { CallTarget, Channel } from "./call.js";
import { cancellation, errorFromStatus, undecodableResponse } from "./status-error.js";

/**
 * Resolves when the response begins: with its headers, its first message or its end. `limits` are enforced here;
 * `sentTimeoutMs` is the timeout in the CALL frame.
 */
export function callStream<I extends DescMessage, O extends DescMessage>(
  target: CallTarget,
  method: DescMethodStreaming<I, O>,
  header: HeaderList,
  input: AsyncIterable<MessageInitShape<I>>,
  limits: CallLimits,
  sentTimeoutMs: number | undefined,
): Promise<StreamResponse<I, O>> {
  return new Promise((resolve, reject) => {
    const { signal } = limits;
    if (signal?.aborted) return reject(ConnectError.from(signal.reason, Code.Canceled));
    new StreamCall(target, method, limits, resolve, reject).begin(sentTimeoutMs, header, input);
  });
}

/** A call with a stream of messages in at least one direction. */
class StreamCall<I extends DescMessage, O extends DescMessage> implements StreamEvents {
  readonly #channel: Channel;
  readonly #method: DescMethodStreaming<I, O>;
  readonly #stopObserving: () => void;
  readonly #resolve: (response: StreamResponse<I, O>) => void;
  readonly #reject: (error: ConnectError) => void;
  readonly #stream: Stream;
  readonly #messages: MessageReader<MessageShape<O>>;
  readonly #trailer = new Headers();
  #header: HeaderList = [];
  /** Whether the promise of the response is settled. */
  #isSettled = false;

  constructor(
    { channel, check }: CallTarget,
    method: DescMethodStreaming<I, O>,
    limits: CallLimits,
    resolve: (response: StreamResponse<I, O>) => void,
    reject: (error: ConnectError) => void,
  ) {
    this.#channel = channel;
    this.#method = method;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#stream = new Stream(this, check, false);
    this.#messages = new MessageReader(
      this.#stream,
      (bytes) => this.#decode(bytes),
      () => this.#cancel(new ConnectError("the reader left", Code.Canceled)),
    );
    this.#stopObserving = observe(limits, (reason) => this.#cancel(...cancellation(reason)));
  }

  begin(timeoutMs: number | undefined, header: HeaderList, input: AsyncIterable<MessageInitShape<I>>): void {
    const stream = this.#stream;
    // A response without headers begins with its first message.
    stream.pull();
    this.#channel.begin({ path: methodPath(this.#method), timeoutMs, header, stream });
    sendMessages(this.#method.input, input, stream).then(
      () => stream.end(),
      (error) => this.#cancel(ConnectError.from(error)),
    );
  }

  onHeaders(header: HeaderList): void {
    this.#header = header;
    this.#respond();
  }

  onMessage(bytes: Uint8Array): void {
    this.#messages.push(bytes);
    this.#respond();
  }

  onEnd(status: CallStatus): void {
    if (status.code !== 0) {
      this.#fail(errorFromStatus(status, this.#header));
      return;
    }
    this.#stopObserving();
    for (const [name, value] of status.trailers) this.#trailer.append(name, value);
    this.#messages.close();
    this.#respond();
  }

  onError(error: ConnectError): void {
    this.#fail(error);
  }

  onRefused(error: ConnectError): void {
    this.#cancel(error, error.code);
  }

  #decode(bytes: Uint8Array): MessageShape<O> {
    try {
      return fromBinary(this.#method.output, bytes);
    } catch (error) {
      this.#stopObserving();
      this.#channel.reset(this.#stream, Code.Canceled);
      throw undecodableResponse(error);
    }
  }

  #respond(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#resolve({
      stream: true,
      service: this.#method.parent,
      method: this.#method,
      header: toHeaders(this.#header),
      trailer: this.#trailer,
      message: this.#messages,
    });
  }

  /** The messages end with the error; so does the call if its response has not begun. */
  #fail(error: ConnectError): void {
    this.#stopObserving();
    this.#messages.close({ error });
    // Without effect if the response has begun.
    this.#reject(error);
    this.#isSettled = true;
  }

  #cancel(error: ConnectError, code: Code = Code.Canceled): void {
    this.#channel.reset(this.#stream, code);
    this.#fail(error);
  }
}
