import type { Setting, Told } from "../case.js";
import { CASES } from "../cases.js";
import { appCallback } from "../listening.js";
import { nodeDoors } from "../node-doors.js";
import { run } from "../run.js";
import { webDoors } from "../web-doors.js";

/** A program on Node, Deno or Bun: `fairlead/node` besides what runs everywhere. It tells of each case in a line. */
const setting = JSON.parse(process.argv[2] ?? "") as Setting;
const tell = (told: Told) => console.log(JSON.stringify(told));
const [first, ...others] = nodeDoors(setting);
await run(webDoors(setting), CASES, setting, tell);
// Whether the program can be called on its own port depends on no transport.
const withPort = { ...CASES, pubsub: [...(CASES["pubsub"] ?? []), ...appCallback] };
await run(first ? [first] : [], withPort, setting, tell);
await run(others, CASES, setting, tell);
// Deno's `node:http` keeps a process alive behind an upload by HTTP/1.1 that was given up.
if ("Deno" in globalThis) process.exit();
