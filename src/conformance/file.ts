import { type Case, casesOf } from "./case.js";
import { fileCalls } from "./file/calls.js";
import { contents } from "./file/contents.js";
import { listing } from "./file/listing.js";

/** What must hold of files. */
export const fileCases: readonly Case[] = casesOf("file", fileCalls, [contents, listing], ["upload"]);
