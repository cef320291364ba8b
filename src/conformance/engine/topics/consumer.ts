import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import type { Delivery, TopicStore } from "../../../server/engine.js";
import { type Reader, reader } from "../reader.js";
import { neverAborts } from "../timing.js";

export const publish = (topics: TopicStore, ...texts: string[]) => topics.publish("t", texts.map(utf8));
export const consumer = (
  topics: TopicStore,
  group = "g",
  signal = neverAborts(),
  topic = "t",
): Reader<Delivery> => reader(topics.consume(topic, group, signal));
export const formatDelivery = ({ value, attempt }: Delivery) => `${fromUtf8(value)}#${attempt}`;

/** Receives and acknowledges the next `count` events, one after the other. */
export async function acknowledgeNext(events: Reader<Delivery>, count: number): Promise<string[]> {
  const seen: string[] = [];
  while (seen.length < count) {
    const event = await events.next();
    seen.push(formatDelivery(event));
    await event.ack();
  }
  return seen;
}

export const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);
