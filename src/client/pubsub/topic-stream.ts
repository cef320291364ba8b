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
  SubscribeTopicEventsResponse,
} from "../../../gen/runtime/pubsub_pb.js";
import { Queue } from "../../lib/queue.js";
import { runAfter } from "../../lib/timer.js";
import { canceled } from "../../rpc/canceled.js";

/** An event that was delivered over a stream. */
export interface Delivered {
  event: TopicEventRequest;
  /** Answers it. Only the first answer counts; an answer after the end of the stream has no effect. */
  answer(status: Status): void;
}

/** How long the server may take to confirm that it has the last answers, in milliseconds. */
const CONFIRM_MS = 1000;

/**
 * The events of one SubscribeTopicEvents call. Calls `onOpen` when the subscription is established. When the loop is
 * left or `signal` aborts, the call ends gracefully: the server receives the answers that were given and takes back the
 * other events. An abort during the loop's body takes effect after it.
 */
export async function* topicStream(
  client: Client<typeof Runtime>,
  initial: MessageInitShape<typeof SubscribeTopicEventsRequestInitialSchema>,
  call: CallOptions,
  { signal, onOpen }: { signal: AbortSignal; onOpen: () => void },
): AsyncGenerator<Delivered, void, undefined> {
  yield* new TopicStream(client, initial, call, signal).events(onOpen);
}

class TopicStream {
  readonly #signal: AbortSignal;
  readonly #requests = new Queue<MessageInitShape<typeof SubscribeTopicEventsRequestSchema>>();
  readonly #call = new AbortController();
  readonly #responses: AsyncIterator<SubscribeTopicEventsResponse>;
  #state: "opening" | "waiting" | "busy" | "ended" = "opening";
  #stopTimer = () => {};

  constructor(
    client: Client<typeof Runtime>,
    initial: MessageInitShape<typeof SubscribeTopicEventsRequestInitialSchema>,
    call: CallOptions,
    signal: AbortSignal,
  ) {
    this.#signal = signal;
    this.#requests.push({ subscribeTopicEventsRequestType: { case: "initialRequest", value: initial } });
    const responses = client.subscribeTopicEvents(this.#requests, { ...call, signal: this.#call.signal });
    this.#responses = responses[Symbol.asyncIterator]();
  }

  async *events(onOpen: () => void): AsyncGenerator<Delivered, void, undefined> {
    const signal = this.#signal;
    const onAbort = () => {
      if (this.#state !== "busy") this.#hangUp();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      for (let step = await this.#next(); !step.done && !signal.aborted; step = await this.#next()) {
        const { case: kind, value } = step.value.subscribeTopicEventsResponseType;
        if (kind === "initialResponse") onOpen();
        if (kind === "eventMessage") {
          this.#state = "busy";
          yield this.#delivered(value);
        }
        this.#state = "waiting";
        if (signal.aborted) break;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      if (this.#isLive()) this.#hangUp();
      while (this.#isLive()) await this.#next().catch(() => {});
      this.#stopTimer();
      this.#requests.end();
    }
    if (signal.aborted) throw canceled(signal);
  }

  async #next(): Promise<IteratorResult<SubscribeTopicEventsResponse>> {
    try {
      const step = await this.#responses.next();
      if (step.done) this.#state = "ended";
      return step;
    } catch (error) {
      this.#state = "ended";
      throw this.#signal.aborted ? canceled(this.#signal) : error;
    }
  }

  #delivered(event: TopicEventRequest): Delivered {
    let isAnswered = false;
    const answer = (status: Status) => {
      if (isAnswered) return;
      isAnswered = true;
      const value = { id: event.id, status: { status } };
      this.#requests.push({ subscribeTopicEventsRequestType: { case: "eventProcessed", value } });
    };
    return { event, answer };
  }

  /** Ends the requests, so that the server ends the call; cancels it if that takes too long. */
  #hangUp(): void {
    this.#requests.end();
    if (this.#state === "opening") this.#call.abort(this.#signal.reason);
    else this.#stopTimer = runAfter(CONFIRM_MS, () => this.#call.abort());
  }

  /** A method, because the compiler assumes that `#state` stays what it was assigned. */
  #isLive(): boolean {
    return this.#state !== "ended";
  }
}
