import { type Case, casesOf } from "./case.js";
import { mapBackupCases } from "./map/backups.js";
import { mapCalls } from "./map/calls.js";
import { mapEntryCases } from "./map/entries.js";
import { mapHistoryCases } from "./map/histories.js";

/** The cases of maps. */
export const mapCases: readonly Case[] = casesOf(
  "map",
  mapCalls,
  [mapEntryCases, mapBackupCases, mapHistoryCases],
  ["map"],
);
