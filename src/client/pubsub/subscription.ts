import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Client, Transport } from "@connectrpc/connect";
import { TopicEventResponse_TopicEventResponseStatus as Status } from "../../../gen/runtime/pubsub_appcallback_pb.js";
import type { Runtime, SubscribeTopicEventsRequestInitialSchema } from "../../../gen/runtime/pubsub_pb.js";
import type { Coding } from "../codec.js";
import type { LoadedFollower } from "../follower/follow.js";
import { follow } from "../follower/follow.js";
import { streamWithReconnect } from "../follower/reconnect.js";
import type { ConnectionStatus } from "../status/connection-status.js";
import { type TopicEvent, topicEvent } from "./event.js";
import { topicStream } from "./topic-stream.js";

/**
 * An event in the hands of one consumer. The first answer counts. One that comes after the loop was left or the
 * connection was lost does nothing: the event is delivered again.
 */
export interface Message<T = unknown> extends TopicEvent<T> {
  /** It is handled: the group does not see it again. */
  ack(): void;
  /** It is not handled: the group sees it again, after a delay that grows with each delivery. */
  retry(): void;
  /** It is not handled and shall not come again; the server logs a warning. */
  drop(): void;
}

/** How a subscription is held. */
interface Subscribing<T> {
  call: CallOptions;
  signal: AbortSignal | undefined;
  onOpen: (() => void) | undefined;
  coding: Coding<T>;
  manual: boolean;
}

type Initial = MessageInitShape<typeof SubscribeTopicEventsRequestInitialSchema>;

/** The events of the subscription that `initial` asks for, through lost connections. */
export function subscription<T>(
  transport: Transport,
  client: Client<typeof Runtime>,
  initial: Initial,
  subscribing: Subscribing<T>,
): LoadedFollower<Message<T>> {
  return follow(transport, subscribing.signal, (signal, status) =>
    messagesOf(client, initial, { ...subscribing, signal }, status),
  );
}

async function* messagesOf<T>(
  client: Client<typeof Runtime>,
  initial: Initial,
  { call, signal, onOpen, coding, manual }: Subscribing<T> & { signal: AbortSignal },
  status: ConnectionStatus,
): AsyncGenerator<Message<T>, void, undefined> {
  const open = (signal: AbortSignal, connected: () => void) => {
    const opened = () => {
      connected();
      onOpen?.();
    };
    return topicStream(client, initial, { timeoutMs: 0, ...call }, { signal, onOpen: opened });
  };
  for await (const { event, answer } of streamWithReconnect(open, signal, status)) {
    const message = Object.assign(topicEvent(event, coding), {
      ack: () => answer(Status.SUCCESS),
      retry: () => answer(Status.RETRY),
      drop: () => answer(Status.DROP),
    });
    if (manual) {
      yield message;
      continue;
    }
    try {
      yield message;
      message.ack();
    } finally {
      message.retry();
    }
  }
}
