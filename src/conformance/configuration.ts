import { type Case, casesOf } from "./case.js";
import { configurationCalls } from "./configuration/calls.js";
import { following } from "./configuration/following.js";
import { items } from "./configuration/items.js";

/** What must hold of configurations. */
export const configurationCases: readonly Case[] = casesOf("configuration", configurationCalls, [
  items,
  following,
]);
