import type { Launch } from "./browser.js";
import { start } from "./child.js";

const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--no-first-run",
];

export const inChromium =
  (program: string): Launch =>
  (url, folder) =>
    start(program, [...FLAGS, `--user-data-dir=${folder}`, url]);
