import { type Case, casesOf } from "./case.js";
import { fileCalls } from "./files/calls.js";
import { fileContentCases } from "./files/contents.js";
import { fileListCases } from "./files/lists.js";

/** The cases of files. */
export const fileCases: readonly Case[] = casesOf(
  "files",
  fileCalls,
  [fileContentCases, fileListCases],
  ["upload"],
);
