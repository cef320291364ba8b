import type { CaseResult, Setting } from "../case.js";
import { CASES } from "../cases.js";
import { run } from "../run.js";
import { webTransports } from "../web-transports.js";

/** Runs the cases over the transports that every runtime has. */
export const runWeb = (setting: Setting): Promise<CaseResult[]> =>
  run(webTransports(setting), CASES, setting);
