import { create } from "@bufbuild/protobuf";
import { type Client, ConnectError, type Transport } from "@connectrpc/connect";
import {
  TopicEventResponse_TopicEventResponseStatus as Status,
  type TopicEventRequest,
} from "../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import {
  Runtime,
  type SubscribeTopicEventsRequest,
  SubscribeTopicEventsRequestSchema,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { Queue } from "../../lib/queue.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import { sleep } from "../../rpc/sleep.js";
import type { CaseContext } from "../case-context.js";
import { AssertionError, equal } from "../expect.js";

export { Status };

/** The first request of a subscription. The default topic is "t", in a group that belongs to the case. */
interface Initial {
  topic?: string;
  /** "": the server chooses the group. */
  group?: string;
  deadLetterTopic?: string;
  metadata?: Record<string, string>;
  pubsubName?: string;
  headers?: Record<string, string>;
}

/** One SubscribeTopicEvents call, message by message. */
interface TopicStream {
  next(): Promise<TopicEventRequest>;
  /** Receives the next event, answers it with `status`, and returns its text. */
  text(status?: Status): Promise<string>;
  /** Fails if an event comes within `ms`. */
  quiet(ms?: number): Promise<void>;
  answer(id: string, status?: Status): void;
  send(message: SubscribeTopicEventsRequest): void;
  halfClose(): void;
  /** Reads the stream to its end; undefined if it ends with OK. Does not answer further events. */
  end(): Promise<ConnectError | undefined>;
  cancel(): void;
}

/** The pub/sub RPCs on topics that belong to the case. */
export interface PubsubCalls extends CaseContext {
  readonly runtime: Client<typeof Runtime>;
  readonly pubsubName: string;
  publish(
    topic: string,
    data?: Uint8Array | string,
    rest?: { dataContentType?: string; metadata?: Record<string, string>; pubsubName?: string },
  ): Promise<unknown>;
  subscribe(initial?: Initial, transport?: Transport): Promise<TopicStream>;
  /** Creates the group, so that events wait for it. */
  begin(initial?: Initial): Promise<void>;
}

export const eventText = (event: TopicEventRequest): string => fromUtf8(event.data);

export const subscribeRequest = (
  kind: "initialRequest" | "eventProcessed",
  value: object,
): SubscribeTopicEventsRequest =>
  create(SubscribeTopicEventsRequestSchema, {
    // The two kinds differ only in the type of their value.
    subscribeTopicEventsRequestType: { case: kind, value } as never,
  });

export function pubsubCalls(context: CaseContext): PubsubCalls {
  const runtime = context.client(Runtime);
  const { pubsub: pubsubName } = context.stores;
  const initialOf = ({ topic = "t", group = "g", deadLetterTopic, metadata, ...rest }: Initial) => ({
    pubsubName: rest.pubsubName ?? pubsubName,
    topic: topic === "" ? "" : context.own(topic),
    metadata: { ...(group !== "" && { consumerGroup: context.own(group) }), ...metadata },
    ...(deadLetterTopic !== undefined && {
      deadLetterTopic: deadLetterTopic && context.own(deadLetterTopic),
    }),
  });
  const subscribe: PubsubCalls["subscribe"] = async (initial = {}, transport) => {
    const client = transport ? context.client(Runtime, transport) : runtime;
    const member = openTopicStream(client, initialOf(initial), initial.headers);
    context.after(member.cancel);
    await member.opened();
    return member;
  };
  return {
    ...context,
    runtime,
    pubsubName,
    subscribe,
    publish: (topic, data = "", rest = {}) =>
      runtime.publishEvent({
        pubsubName,
        topic: context.own(topic),
        data: typeof data === "string" ? utf8(data) : data,
        ...rest,
      }),
    async begin(initial) {
      const member = await subscribe(initial);
      member.halfClose();
      equal(await member.end(), undefined, "the end of the first subscription");
    },
  };
}

function openTopicStream(client: Client<typeof Runtime>, initial: object, headers?: Record<string, string>) {
  const requests = new Queue<SubscribeTopicEventsRequest>();
  const cancellation = new AbortController();
  requests.push(subscribeRequest("initialRequest", initial));
  const incoming = client
    .subscribeTopicEvents(requests, { signal: cancellation.signal, ...(headers && { headers }) })
    [Symbol.asyncIterator]();
  let pending: ReturnType<typeof incoming.next> | undefined;
  const take = async () => {
    const { value, done } = await (pending ?? incoming.next());
    pending = undefined;
    if (done) throw new AssertionError("the call ended", undefined, undefined, { isEnd: true });
    return value.subscribeTopicEventsResponseType;
  };
  const next = async () => {
    const message = await take();
    if (message.case !== "eventMessage")
      throw new AssertionError("the message", message.case, "eventMessage");
    return message.value;
  };
  const answer = (id: string, status?: Status) =>
    requests.push(
      subscribeRequest("eventProcessed", { id, ...(status !== undefined && { status: { status } }) }),
    );
  return {
    opened: async () => equal((await take()).case, "initialResponse", "the first message"),
    next,
    answer,
    async text(status: Status = Status.SUCCESS) {
      const event = await next();
      answer(event.id, status);
      return eventText(event);
    },
    async quiet(ms = 60) {
      pending ??= incoming.next();
      pending.catch(() => {});
      const message = await Promise.race([pending, sleep(ms).then(() => undefined)]);
      if (message) throw new AssertionError("nothing was to come", message);
    },
    send: (message: SubscribeTopicEventsRequest) => requests.push(message),
    halfClose: () => requests.end(),
    async end() {
      try {
        for (let step = await (pending ?? incoming.next()); !step.done; step = await incoming.next());
        return undefined;
      } catch (error) {
        return ConnectError.from(error);
      }
    },
    cancel: () => cancellation.abort(),
  };
}
