import { type Case, casesOf } from "./case.js";
import { batches } from "./state/batches.js";
import { stateCalls } from "./state/calls.js";
import { entries } from "./state/entries.js";
import { etags } from "./state/etags.js";
import { histories } from "./state/histories.js";
import { lifetimes } from "./state/lifetimes.js";
import { refusals } from "./state/refusals.js";

/** What must hold of state. */
export const stateCases: readonly Case[] = casesOf("state", stateCalls, [
  entries,
  etags,
  batches,
  lifetimes,
  refusals,
  histories,
]);
