import { type Case, casesOf } from "./case.js";
import { backups } from "./map/backups.js";
import { mapCalls } from "./map/calls.js";
import { entries } from "./map/entries.js";
import { histories } from "./map/histories.js";

/** What must hold of maps. */
export const mapCases: readonly Case[] = casesOf("map", mapCalls, [entries, backups, histories], ["map"]);
