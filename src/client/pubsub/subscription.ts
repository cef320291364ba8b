import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Client, Transport } from "@connectrpc/connect";
import { TopicEventResponse_TopicEventResponseStatus as Status } from "../../../gen/runtime/pubsub_appcallback_pb.js";
import type { Runtime, SubscribeTopicEventsRequestInitialSchema } from "../../../gen/runtime/pubsub_pb.js";
import type { Coding } from "../codec.js";
import { createFollower, type LoadedFollower } from "../follower/create-follower.js";
import { streamWithReconnect } from "../follower/reconnect.js";
import type { Message } from "../pubsub.js";
import type { ConnectionStatus } from "../status/connection-status.js";
import { topicEvent } from "./event.js";
import { topicStream } from "./topic-stream.js";

/** The options of a subscription on this side of the wire. */
interface SubscriptionOptions<T> {
  call: CallOptions;
  signal: AbortSignal | undefined;
  onOpen: (() => void) | undefined;
  coding: Coding<T>;
  manual: boolean;
}

type Initial = MessageInitShape<typeof SubscribeTopicEventsRequestInitialSchema>;

/** The messages of the subscription that `initial` requests. It reconnects by itself. */
export function subscription<T>(
  transport: Transport,
  client: Client<typeof Runtime>,
  initial: Initial,
  options: SubscriptionOptions<T>,
): LoadedFollower<Message<T>> {
  return createFollower(transport, options.signal, (signal, status) =>
    messagesOf(client, initial, { ...options, signal }, status),
  );
}

async function* messagesOf<T>(
  client: Client<typeof Runtime>,
  initial: Initial,
  { call, signal, onOpen, coding, manual }: SubscriptionOptions<T> & { signal: AbortSignal },
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
