import {
  type DescMessage,
  type DescMethodStreaming,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse } from "@connectrpc/connect";
import { methodPath } from "../../rpc/dispatch/method-path.js";
import { MessageReader } from "../flow/message-reader.js";
import { sendMessages } from "../flow/send-messages.js";
import { Stream } from "../flow/stream.js";
import type { HeaderList } from "../wire/frame.js";
import { toHeaders } from "../wire/header-list.js";
import type { CheckMessage } from "../wire/limits.js";
import type { Channel } from "./call.js";
import { errorFromStatus, undecodableResponse } from "./status-error.js";

/** Resolves with the first that comes of the answer: headers, a message or the end. */
export function callStream<I extends DescMessage, O extends DescMessage>(
  line: Channel,
  check: CheckMessage,
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
        header: toHeaders(answered),
        trailer: asTrailers,
        message: messages,
      });
    };
    const giveUp = (error: ConnectError, code: Code = Code.Canceled) => {
      signal.removeEventListener("abort", abort);
      line.reset(stream, code);
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
        onHeaders: (header) => {
          answered = [...answered, ...header];
          begun();
        },
        onMessage: (bytes) => {
          messages.push(bytes);
          begun();
        },
        onEnd: (status) => {
          signal.removeEventListener("abort", abort);
          if (status.code === 0) {
            for (const [name, value] of status.trailers) asTrailers.append(name, value);
            messages.close();
          } else {
            const error = errorFromStatus(status, answered);
            messages.close({ error });
            // Nothing came before it: there is no answer to be read.
            if (!hasBegun) reject(error);
            hasBegun = true;
          }
          begun();
        },
        onError: fail,
        onRefused: (error) => giveUp(error, error.code),
      },
      check,
      false,
    );
    const messages = new MessageReader<MessageShape<O>>(
      stream,
      (bytes) => {
        try {
          return fromBinary(method.output, bytes);
        } catch (error) {
          line.reset(stream, Code.Canceled);
          throw undecodableResponse(error);
        }
      },
      () => giveUp(new ConnectError("the reader left", Code.Canceled)),
    );
    signal.addEventListener("abort", abort);
    // An answer without headers begins with its first message.
    stream.pull();
    line.begin({ path: methodPath(method), timeoutMs, header, stream });
    sendMessages(method.input, input, stream).then(
      () => stream.end(),
      (error) => giveUp(ConnectError.from(error)),
    );
  });
}
