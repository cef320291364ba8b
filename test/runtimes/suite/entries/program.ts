import type { Case, Setting, Told } from "../case.js";
import { CASES } from "../cases.js";
import { appCallback } from "../listening.js";
import { nodeDoors } from "../node-doors.js";
import { run } from "../run.js";
import { webDoors } from "../web-doors.js";

/** A program on Node, Deno or Bun: `fairlead/node` besides what runs everywhere. Its last line is what it tells. */
const setting = JSON.parse(process.argv[2] ?? "") as Setting;
const withPort: Record<string, Case[]> = { ...CASES, pubsub: [...(CASES["pubsub"] ?? []), ...appCallback] };
const told: Told[] = [
  ...(await run(webDoors(setting), CASES, setting)),
  ...(await run(nodeDoors(setting), withPort, setting)),
];
console.log(JSON.stringify(told));
