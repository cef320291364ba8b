import { Code, ConnectError } from "@connectrpc/connect";
import * as R from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { Mutant } from "../mutants.js";
import { answered, asked, LOST } from "../tamper.js";

/** Clients that go wrong about streams. */
export const streamsMutants: readonly Mutant[] = [
  {
    name: "answers no events",
    tamper: asked(R.SubscribeTopicEventsRequestSchema, ({ subscribeTopicEventsRequestType: type }) =>
      type.case === "eventProcessed" ? LOST : undefined,
    ),
    told: ["consume-ack", "consume-retry", "consume-drop", "consume-again"],
  },
  {
    name: "answers every event by SUCCESS",
    tamper: asked(R.SubscribeTopicEventsRequestSchema, ({ subscribeTopicEventsRequestType: type }) => {
      if (type.case === "eventProcessed") type.value.status = undefined;
    }),
    told: ["consume-retry", "consume-drop", "consume-again"],
  },
  {
    name: "takes all data for bytes",
    tamper: answered(R.SubscribeTopicEventsResponseSchema, ({ subscribeTopicEventsResponseType: type }) => {
      if (type.case === "eventMessage") type.value.dataContentType = "application/octet-stream";
    }),
    told: ["event-json", "event-json-parameters", "event-json-suffix", "event-json-quoted"],
  },
  {
    name: "takes all data for JSON",
    tamper: answered(R.SubscribeTopicEventsResponseSchema, ({ subscribeTopicEventsResponseType: type }) => {
      if (type.case === "eventMessage") type.value.dataContentType = "application/json";
    }),
    told: ["event-text", "event-empty"],
  },
  {
    name: "ends at a message that it does not know",
    tamper: answered(R.SubscribeTopicEventsResponseSchema, ({ subscribeTopicEventsResponseType: type }) => {
      if (type.case === undefined) throw new ConnectError("what is this?", Code.Internal);
    }),
    told: ["consume-unknown-message"],
  },
  {
    name: "publishes everything as bytes",
    tamper: asked(R.PublishEventRequestSchema, (message) => {
      message.dataContentType = "application/octet-stream";
    }),
    told: ["publish-json", "publish-text"],
  },
  {
    name: "never lets go of a stream",
    tamper: (transport) => ({
      ...transport,
      stream: (method, _, ...rest) => transport.stream(method, undefined, ...rest),
    }),
    told: ["file-left", "read-left", "follow-left"],
  },
  {
    name: "waits for ever",
    tamper: (transport) => ({
      ...transport,
      unary: (method, signal, _, ...rest) => transport.unary(method, signal, undefined, ...rest),
    }),
    told: ["state-never"],
  },
  {
    name: "ends a file with an empty piece",
    tamper: (transport) => ({
      ...transport,
      async stream(...args) {
        const answer = await transport.stream(...args);
        const untilEmpty = async function* () {
          for await (const message of answer.message) {
            if ("data" in message && (message.data as Uint8Array).length === 0) return;
            yield message;
          }
        };
        return { ...answer, message: untilEmpty() };
      },
    }),
    told: ["file-odd-pieces"],
  },
  {
    name: "reads each piece of a file as a text of its own",
    tamper: answered(R.GetFileResponseSchema, (message) => {
      message.data = new TextEncoder().encode(new TextDecoder().decode(message.data));
    }),
    told: ["file-split-character"],
  },
  {
    name: "believes that it has the range that it asked for",
    tamper: answered(R.GetFileResponseSchema, (_, headers) => headers.set("fairlead-range", "0-1")),
    told: ["file-range-ignored"],
  },
];
