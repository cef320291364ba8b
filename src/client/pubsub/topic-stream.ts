import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Client } from "@connectrpc/connect";
import type {
  TopicEventResponse_TopicEventResponseStatus as Status,
  TopicEventRequest,
} from "../../../gen/runtime/pubsub_appcallback_pb.js";
import type {
  Runtime,
  SubscribeTopicEventsRequestInitialSchema,
  SubscribeTopicEventsRequestSchema,
} from "../../../gen/runtime/pubsub_pb.js";
import { Queue } from "../../lib/queue.js";
import { runAfter } from "../../lib/timer.js";
import { canceled } from "../../rpc/canceled.js";

/** An event that came over a stream. */
export interface Delivered {
  event: TopicEventRequest;
  /** Answers it. The first answer counts; one that the stream cannot carry any more does nothing. */
  answer(status: Status): void;
}

/** How long the server may take to confirm that it has the last answers, in milliseconds. */
const GOODBYE_MS = 1000;

/**
 * One SubscribeTopicEvents call; `onOpen` is told when the subscription stands. When the loop is left, and when
 * `signal` aborts, the call is hung up instead of being cut off: the answers that were given arrive first, and the
 * server has taken back what was not answered. An abort while the loop's body is at work waits for its answer.
 */
export async function* topicStream(
  client: Client<typeof Runtime>,
  initial: MessageInitShape<typeof SubscribeTopicEventsRequestInitialSchema>,
  call: CallOptions,
  { signal, onOpen }: { signal: AbortSignal; onOpen: () => void },
): AsyncGenerator<Delivered, void, undefined> {
  const requests = new Queue<MessageInitShape<typeof SubscribeTopicEventsRequestSchema>>();
  const cut = new AbortController();
  let state: "opening" | "waiting" | "busy" | "over" = "opening";
  let stopTimer = () => {};

  const hangUp = () => {
    requests.end();
    if (state === "opening") cut.abort(signal.reason);
    else stopTimer = runAfter(GOODBYE_MS, () => cut.abort());
  };
  const onAbort = () => {
    if (state !== "busy") hangUp();
  };
  const answering = (event: TopicEventRequest): Delivered => {
    let answered = false;
    const answer = (status: Status) => {
      if (answered) return;
      answered = true;
      const value = { id: event.id, status: { status } };
      requests.push({ subscribeTopicEventsRequestType: { case: "eventProcessed", value } });
    };
    return { event, answer };
  };

  requests.push({ subscribeTopicEventsRequestType: { case: "initialRequest", value: initial } });
  const incoming = client
    .subscribeTopicEvents(requests, { ...call, signal: cut.signal })
    [Symbol.asyncIterator]();
  const next = async () => {
    try {
      const result = await incoming.next();
      if (result.done) state = "over";
      return result;
    } catch (error) {
      state = "over";
      throw signal.aborted ? canceled(signal) : error;
    }
  };

  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    for (let message = await next(); !message.done && !signal.aborted; message = await next()) {
      const { case: kind, value } = message.value.subscribeTopicEventsResponseType;
      if (kind === "initialResponse") onOpen();
      if (kind === "eventMessage") {
        state = "busy";
        yield answering(value);
      }
      state = "waiting";
      if (signal.aborted) break;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    if (isLive(state)) hangUp();
    while (isLive(state)) await next().catch(() => {});
    stopTimer();
    requests.end();
  }
  if (signal.aborted) throw canceled(signal);
}

/** The compiler does not see that other functions write to `state`. */
const isLive = (state: string): boolean => state !== "over";
