import { type Case, casesOf } from "./case.js";
import { fileCalls } from "./files/calls.js";
import { contents } from "./files/contents.js";
import { listing } from "./files/listing.js";

/** What must hold of files. */
export const fileCases: readonly Case[] = casesOf("file", fileCalls, [contents, listing], ["upload"]);
