import { type Case, casesOf } from "./case.js";
import { configurationCalls } from "./configuration/calls.js";
import { configurationItemCases } from "./configuration/items.js";
import { subscriptionCases } from "./configuration/subscriptions.js";

/** The cases of configuration. */
export const configurationCases: readonly Case[] = casesOf("configuration", configurationCalls, [
  configurationItemCases,
  subscriptionCases,
]);
