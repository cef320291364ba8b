// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const pubsubMutants: readonly Mutant[] = [
  ...faultsOf("pubsub", "services/pubsub/cloud-event.ts", [
    ["the source is another", 'source: "runtime"', 'source: "fairlead"', /as the Go server shapes it/],
    [
      "JSON is coded anew",
      "if (isJson(contentType)) return utf8(data);",
      "if (isJson(contentType)) return utf8(JSON.stringify(JSON.parse(data)));",
      /the text of its data/,
    ],
    [
      "the topic may be forged",
      'const OWN = ["topic", "pubsubname"];',
      "const OWN: string[] = [];",
      /keeps its attributes/,
    ],
    [
      "events do not expire",
      'return Date.parse(metadata["expiration"] ?? "") <= Date.now();',
      'return metadata["expiration"] === "never";',
      /expires while it waits/,
    ],
    [
      "metadata is lost",
      "const named: Record<string, string> = { ...attributes, ...metadata };",
      "const named: Record<string, string> = { ...attributes };",
      /metadata of a publish/,
    ],
    [
      "anything is a CloudEvent",
      "if (!members) throw notAnEvent(bytes);",
      'if (!members) return unwrapped(utf8("{}"));',
      /is no CloudEvent/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub/delivery.ts", [
    [
      "an unknown answer is a success",
      'return status === Status.DROP ? "drop" : "retry";',
      'return status === Status.DROP ? "drop" : status === Status.RETRY ? "retry" : "success";',
      /not known/,
    ],
    ["DROP is RETRY", 'return status === Status.DROP ? "drop" : "retry";', 'return "retry";', /DROP/],
    [
      "events are not acknowledged",
      'if (verdict === "success") return delivery.ack();',
      'if (verdict === "success") return;',
      /SUCCESS acks/,
    ],
    [
      "no wait before a redelivery",
      "return delivery.retry(Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(attempt - 1, 40)));",
      "return delivery.retry(0);",
      /redelivery waits/,
    ],
    ["dead letters have no reason", "deadLetterReason: reason,", "", /with the reason/],
    [
      "there are no dead letters",
      "if (deadLetterTopic) {\n          return bury",
      'if (deadLetterTopic === "never") {\n          return bury',
      /dead_letter_topic/,
    ],
    [
      "dead letters do not wait",
      "topics.consume(topicOf(pubsub, deadLetterTopic), context.appId, AbortSignal.abort());",
      "",
      /waits for its first subscriber/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub.ts", [
    [
      "all are one group",
      'const group = metadata["consumerGroup"] || (header.get(APP_ID_HEADER) ?? appId);',
      "const group = appId;\n  void header;",
      /every group has all events/,
    ],
    [
      "maxInFlight is not heeded",
      'Number(initial.metadata["maxInFlight"] ?? limits.inFlight)',
      "limits.inFlight",
      /maxInFlight/,
    ],
    [
      "a second initial_request is let be",
      'if (kind === "initialRequest") throw invalid("initial_request", value.topic, FIRST);',
      "",
      /second initial_request/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub/unsettled.ts", [
    [
      "ids may be twice on a stream",
      "await this.#until(() => !this.#unanswered.has(claim.event.id));",
      "",
      /same id/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub/apps.ts", [
    [
      "an app is asked once",
      'if (next === "wait") await pause',
      'if (next === "wait") return;\n    if (next === "wait") await pause',
      /asked again until it does/,
    ],
    [
      "an app's group is not its own",
      "group: consumerGroup || app,",
      'group: "fairlead",',
      /group is the app's name|told of its events/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub/app-visit.ts", [
    [
      "an app's error is a success",
      'unsettled.answer(event.id, "retry", `the app failed: ${messageOf(error)}`);',
      'unsettled.answer(event.id, "success", `the app failed: ${messageOf(error)}`);',
      /an error lets the event come again/,
    ],
  ]),
];
