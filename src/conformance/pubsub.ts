import { type Case, casesOf } from "./case.js";
import { apps } from "./pubsub/apps.js";
import { pubsubCalls } from "./pubsub/calls.js";
import { delivery } from "./pubsub/delivery.js";
import { events } from "./pubsub/events.js";
import { streams } from "./pubsub/streams.js";

/** What must hold of pub/sub. */
export const pubsubCases: readonly Case[] = casesOf(
  "pubsub",
  pubsubCalls,
  [events, delivery, streams, apps],
  ["duplex"],
);
