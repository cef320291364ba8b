import { type Case, casesOf } from "./case.js";
import { stateBatchCases } from "./state/batches.js";
import { stateCalls } from "./state/calls.js";
import { stateEntryCases } from "./state/entries.js";
import { stateEtagCases } from "./state/etags.js";
import { stateHistoryCases } from "./state/histories.js";
import { stateLifetimeCases } from "./state/lifetimes.js";
import { stateRefusalCases } from "./state/refusals.js";

/** The cases of state. */
export const stateCases: readonly Case[] = casesOf("state", stateCalls, [
  stateEntryCases,
  stateEtagCases,
  stateBatchCases,
  stateLifetimeCases,
  stateRefusalCases,
  stateHistoryCases,
]);
