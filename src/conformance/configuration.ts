import { type Case, casesOf } from "./case.js";
import { configurationCalls } from "./configuration/calls.js";
import { subscriptionCases } from "./configuration/following.js";
import { configurationItemCases } from "./configuration/items.js";

/** What must hold of configurations. */
export const configurationCases: readonly Case[] = casesOf("configuration", configurationCalls, [
  configurationItemCases,
  subscriptionCases,
]);
