import { type Case, casesOf } from "./case.js";
import { logCalls } from "./log/calls.js";
import { consuming } from "./log/consuming.js";
import { histories } from "./log/histories.js";
import { producing } from "./log/producing.js";

/** What must hold of logs. */
export const logCases: readonly Case[] = casesOf(
  "log",
  logCalls,
  [producing, consuming, histories],
  ["log", "upload"],
);
