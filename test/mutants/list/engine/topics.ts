// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../../mutant.js";

export const topicsMutants: readonly Mutant[] = [
  ...faultsOf("engine", "engines/memory/topics.ts", [
    [
      "one group has all",
      "for (const group of groups.values()) group.add(kept);",
      "for (const group of [...groups.values()].slice(0, 1)) group.add(kept);",
      /reaches every group/,
    ],
    [
      "events wait for a first group",
      "if (!groups) return;",
      "if (!groups) {\n      setTimeout(() => void this.publish(topic, values).catch(() => {}), 5);\n      return;\n    }",
      /without a group reaches nobody/,
    ],
    [
      "events arrive later than they were published",
      "for (const group of groups.values()) group.add(kept);",
      "setTimeout(() => {\n      for (const group of groups.values()) group.add(kept);\n    }, 20);",
      /groups that begin later/,
    ],
    [
      "topics are normalised",
      "const group = this.#topics.get(topic)?.get(name) ?? this.#begin(topic, name);",
      'const at = topic.normalize("NFC");\n    const group = this.#topics.get(at)?.get(name) ?? this.#begin(at, name);',
      /keeps topics and groups apart/,
    ],
    [
      "nothing ever waits",
      "return (this.#topics.get(topic)?.get(name)?.bytes ?? 0) > 0;",
      "return (this.#topics.get(topic)?.get(name)?.bytes ?? 0) < 0;",
      /hasWaiting\(\) is so until/,
    ],
    [
      "a group without events waits too",
      "return (this.#topics.get(topic)?.get(name)?.bytes ?? 0) > 0;",
      "return this.#topics.get(topic)?.has(name) ?? false;",
      /hasWaiting\(\) is so until/,
    ],
    [
      "events are cut",
      "const kept = values.map(compactBytes);",
      "const kept = values.map((value) => compactBytes(value.subarray(0, 1000)));",
      /publish\(\) keeps every byte/,
    ],
    [
      "groups begin with the first read",
      "const group = this.#topics.get(topic)?.get(name) ?? this.#begin(topic, name);\n    return group.join(signal);",
      "const group = () => this.#topics.get(topic)?.get(name) ?? this.#begin(topic, name);\n    return (async function* () {\n      yield* group().join(signal);\n    })();",
      /begins the group with the call/,
    ],
    [
      "the last event is the first",
      "new Heap<Item>((a, b) => a.order - b.order)",
      "new Heap<Item>((a, b) => b.order - a.order)",
      /in publish order|racing publishers/,
    ],
    [
      "all who wait have the event",
      "this.#waiting.delete(consumer);\n      consumer.assign(item);",
      "this.#waiting.delete(consumer);\n      consumer.assign(item);\n      for (const other of [...this.#waiting]) {\n        this.#waiting.delete(other);\n        other.assign(item);\n      }",
      /gives each event to one consumer|claims one event by each step|lets no consumer/,
    ],
    [
      "a step claims two",
      "consumer.claimed.add(item);\n        } else {",
      "consumer.claimed.add(item);\n          const more = this.#ready.pop();\n          if (more) consumer.claimed.add(more);\n        } else {",
      /claims one event by each step|one consumer of the group/,
    ],
    [
      "what comes back wakes no one",
      "for (const item of items) this.#ready.push(item);\n    this.#assignReady();",
      "for (const item of items) this.#ready.push(item);",
      /left behind|for those who wait already/,
    ],
    [
      "what is answered comes back",
      "if (claimed.delete(item)) this.#weigh(-weight(item.value));",
      "this.#weigh(0);",
      /ack\(\) and drop\(\) end/,
    ],
    ["attempts are not counted", "item.attempts++;\n", "", /counts its attempts/],
    [
      "delays are none",
      "if (delayMs <= 0) return this.#requeue([item]);",
      "if (delayMs >= 0) return this.#requeue([item]);",
      /waits for its delay/,
    ],
    [
      "attempts count for all groups",
      "item.attempts++;",
      "const shared = item.value as Uint8Array & { attempts?: number };\n        shared.attempts = (shared.attempts ?? 0) + 1;\n        item.attempts = shared.attempts;",
      /of one group is nothing to another/,
    ],
    [
      "a second answer counts",
      "if (!claimed.delete(item)) return;",
      "claimed.delete(item);",
      /second answer does nothing/,
    ],
    [
      "what comes back is the last",
      "for (const item of items) this.#ready.push(item);",
      "for (const item of items) this.#ready.push({ ...item, order: ++this.#order });",
      /goes back to the front/,
    ],
    [
      "leaving the loop gives nothing back",
      "} finally {\n      consumer.leave();\n    }",
      "} finally {\n      consumer.claimed.size;\n    }",
      /leaving the loop gives back/,
    ],
    [
      "delays end with their consumer",
      "this.#requeue(consumer.claimed);\n",
      "this.#requeue(consumer.claimed);\n    for (const stop of this.#delays) stop();\n",
      /a delayed event outlives/,
    ],
    [
      "what has aborted is not seen",
      "if (signal.aborted) consumer.leave();\n    else signal",
      "signal",
      /consume\(\) with a signal that has aborted/,
    ],
  ]),
  ...faultsOf("engine", "engines/shared/consumer.ts", [
    ["answers count after the end", "this.claimed.clear();\n", "", /after the consumer has ended/],
    [
      "who waits does not see the end",
      "this.claimed.clear();\n    this.#resolveNext?.(undefined);",
      "this.claimed.clear();",
      /consume\(\) ends when its signal/,
    ],
  ]),
  ...faultsOf("engine", "engines/shared/idle-timer.ts", [
    [
      "groups go with their consumers",
      "wait(Math.min(idleMs, backlogIdleMs));",
      "this.#onIdle();",
      /the group outlives its consumers/,
    ],
  ]),
];
