import type { Setting, Told } from "../case.js";
import { CASES } from "../cases.js";
import { appCallback } from "../listening.js";
import { nodeDoors } from "../node-doors.js";
import { run } from "../run.js";
import { webDoors } from "../web-doors.js";

/** A program on Node, Deno or Bun: `fairlead/node` besides what runs everywhere. Its last line is what it tells. */
const setting = JSON.parse(process.argv[2] ?? "") as Setting;
const [first, ...others] = nodeDoors(setting);
const told: Told[] = [
  ...(await run(webDoors(setting), CASES, setting)),
  // Whether the program can be called on its own port depends on no transport.
  ...(await run(
    first ? [first] : [],
    { ...CASES, pubsub: [...(CASES["pubsub"] ?? []), ...appCallback] },
    setting,
  )),
  ...(await run(others, CASES, setting)),
];
console.log(JSON.stringify(told));
// Deno's `node:http` keeps a process alive behind an upload by HTTP/1.1 that was given up.
if ("Deno" in globalThis) process.exit();
