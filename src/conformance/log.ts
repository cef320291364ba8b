import { type Case, casesOf } from "./case.js";
import { logCalls } from "./log/calls.js";
import { consumeCases } from "./log/consume.js";
import { logHistoryCases } from "./log/histories.js";
import { logProduceCases } from "./log/produce.js";

/** The cases of logs. */
export const logCases: readonly Case[] = casesOf(
  "log",
  logCalls,
  [logProduceCases, consumeCases, logHistoryCases],
  ["log", "upload"],
);
