// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const pubsubMutants: readonly Mutant[] = [
  ...faultsOf("pubsub", "services/pubsub/cloud-event.ts", [
    ["the source is another", 'source: "runtime"', 'source: "fairlead"', /as the Go server shapes it/],
    [
      "JSON is encoded again",
      "if (isJson(contentType)) return utf8(data);",
      "if (isJson(contentType)) return utf8(JSON.stringify(JSON.parse(data)));",
      /the text of its data/,
    ],
    [
      "the topic may be forged",
      'const SERVER_ATTRIBUTES = ["topic", "pubsubname"];',
      "const SERVER_ATTRIBUTES: string[] = [];",
      /keeps its attributes/,
    ],
    ["events do not expire", "return atMs <= clock.wall();", "return false;", /expires while it waits/],
    [
      "metadata is lost",
      "const given: Record<string, string> = { ...attributes, ...metadata };",
      "const given: Record<string, string> = { ...attributes };",
      /metadata of a publish/,
    ],
    [
      "any version of CloudEvents is taken",
      "if (specVersion !== DEFAULTS.specVersion) {",
      'if (specVersion === "none") {',
      /specversion/,
    ],
    [
      "line breaks in what an envelope says",
      'throw invalid(`data.${name}`, text, "must not contain control characters");',
      "return text;",
      /an id with a line break/,
    ],
    [
      "the content type in an envelope is not looked at",
      'checkMediaType("data.datacontenttype", event.dataContentType);',
      "",
      /a content type that is not ASCII/,
    ],
    [
      "anything is a CloudEvent",
      "if (!members) throw notAnEvent(bytes);",
      'if (!members) return unwrapped(utf8(\'{"specversion":"1.0"}\'));',
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
      "if (deadLetterTopic) {\n          return deadLetter",
      'if (deadLetterTopic === "never") {\n          return deadLetter',
      /dead_letter_topic/,
    ],
    [
      "dead letters do not wait",
      "if (deadLetterTopic) await topics.createGroup(topicOf(pubsub, deadLetterTopic), appId);",
      "",
      /waits for its first subscriber/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub.ts", [
    [
      "all are one group",
      "const group = consumerGroupOf(initial, header, appId);",
      "const group = appId;",
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
      'if (next === "wait") await delay',
      'if (next === "wait") return;\n    if (next === "wait") await delay',
      /asked again until it does/,
    ],
    [
      "an app's group is not its own",
      "group: consumerGroup || app,",
      'group: "fairlead",',
      /group is the app's name|receives their events/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub/app-session.ts", [
    [
      "an app's error is a success",
      'unsettled.settle(event.id, "retry", `the app failed: ${messageOf(error)}`);',
      'unsettled.settle(event.id, "success", `the app failed: ${messageOf(error)}`);',
      /an error lets the event come again/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub/cloud-event.ts", [
    ["all events have one id", "id: randomId(),\n", 'id: "1",\n', /id of its own/],
    [
      "data ends with a new line",
      "data,\n          attributes: {},",
      "data: new Uint8Array([...data, 10]),\n          attributes: {},",
      /bytes arrive as they were sent|may have 1 MiB/,
    ],
    [
      "ids may be anything",
      'if (!value.startsWith(\'"\')) throw invalid(`data.${name}`, value, "must be a string");',
      "if (!value.startsWith('\"')) return otherwise;",
      /an id that is no text/,
    ],
    [
      "malformed base64 is no data",
      'throw invalid("data.data_base64", base64, "must be a string in base64");',
      "return new Uint8Array();",
      /base64 that is/,
    ],
    [
      "data may be twice",
      'if (data !== undefined) throw invalid("data.data_base64", base64, "excludes data.data");',
      "",
      /data twice/,
    ],
    ["malformed UTF-8 is mended", "fatal: true", "fatal: false", /no UTF-8 is no CloudEvent/],
    [
      "lifetimes are milliseconds",
      "new Date(now + Number(ttlInSeconds) * 1000)",
      "new Date(now + Number(ttlInSeconds))",
      /becomes the event's expiration/,
    ],
    [
      "a lifetime of 0 is heeded",
      "Number(ttlInSeconds) > 0 && new",
      "ttlInSeconds !== undefined && new",
      /0 or less is no expiration/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub.ts", [
    [
      "every stream is a group",
      "const group = consumerGroupOf(initial, header, appId);",
      "const group = `${Math.random()}`;",
      /compete for|are one group|share its events|no member at the moment/,
    ],
    [
      "events are not published",
      "await engine.topics.publish(topicOf(request.pubsubName, request.topic), [event]);",
      "",
      /what another client publishes/,
    ],
    [
      "the next event waits for the one before",
      "await unsettled.hasRoom();",
      "await new Promise((resolve) => setTimeout(resolve, 1200));",
      /holds up no later event/,
    ],
    [
      "the first message may be anything",
      'if (request?.case !== "initialRequest") throw invalid("initial_request", request?.case, FIRST);',
      'if (request?.case !== "initialRequest") throw new TypeError("not an initial_request");',
      /no initial_request is|no message at all/,
    ],
    [
      "half-close is an error",
      "if (ended.error) throw ended.error;",
      'throw ended.error ?? unavailable("the client has ended its side");',
      /half-close with nothing/,
    ],
    [
      "a topic may be its own dead letter topic",
      "if (deadLetterTopic === topic) {",
      'if (deadLetterTopic === "\\0") {',
      /its own dead letter/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub/delivery.ts", [
    [
      "all topics are one",
      "=> `${pubsub}\\0${topic}`;",
      "=> (topic ? pubsub : topic);",
      /topics are apart|its own topic only/,
    ],
    [
      "what cannot be handled comes for ever",
      'no dead letter topic is set");\n        return delivery.drop();',
      'no dead letter topic is set");\n        return delivery.retry(10);',
      /without a dead_letter_topic/,
    ],
  ]),
  ...faultsOf("pubsub", "services/pubsub/unsettled.ts", [
    [
      "answers to nothing are errors",
      "if (!claim) return;",
      'if (!claim) throw new TypeError("there is no such event");',
      /what was not sent/,
    ],
  ]),
  ...faultsOf("pubsub", "engines/memory/topics.ts", [
    [
      "publishing to no one fails",
      "if (!groups) return;",
      "if (!groups) throw away();",
      /nobody has subscribed/,
    ],
    [
      "the last event is the first",
      "new Heap<Item>((a, b) => a.order - b.order)",
      "new Heap<Item>((a, b) => b.order - a.order)",
      /in publish order/,
    ],
    [
      "what was not answered is lost",
      "this.#requeue(consumer.claimed);\n",
      "",
      /goes back when the client cancels/,
    ],
    [
      "the first who leaves takes the others along",
      "if (this.#consumers.size === 0) this.#idle.start();",
      "for (const each of [...this.#consumers]) each.leave();",
      /takes nothing from the others/,
    ],
  ]),
  ...faultsOf("pubsub", "engines/shared/idle-timer.ts", [
    [
      "the last who leaves takes the group along",
      "wait(Math.min(idleMs, backlogIdleMs));",
      "this.#onIdle();",
      /no member at the moment/,
    ],
  ]),
];
