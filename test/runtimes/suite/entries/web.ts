import type { Setting, Told } from "../case.js";
import { CASES } from "../cases.js";
import { run } from "../run.js";
import { webDoors } from "../web-doors.js";

/** All that any runtime with fetch can do. */
export const runWeb = (setting: Setting): Promise<Told[]> => run(webDoors(setting), CASES, setting);
