import { type Case, casesOf } from "./case.js";
import { appCallbackCases } from "./pubsub/apps.js";
import { pubsubCalls } from "./pubsub/calls.js";
import { deliveryCases } from "./pubsub/delivery.js";
import { eventCases } from "./pubsub/events.js";
import { topicStreamCases } from "./pubsub/streams.js";

/** The cases of pub/sub. */
export const pubsubCases: readonly Case[] = casesOf(
  "pubsub",
  pubsubCalls,
  [eventCases, deliveryCases, topicStreamCases, appCallbackCases],
  ["duplex"],
);
