import { appCallback } from "../app-callback.js";
import type { CaseResult, Setting } from "../case.js";
import { CASES } from "../cases.js";
import { nodeTransports } from "../node-transports.js";
import { run } from "../run.js";
import { webTransports } from "../web-transports.js";

/** A program on Node, Deno or Bun, which also tests `fairlead/node`. It prints one line for each case. */
const setting = JSON.parse(process.argv[2] ?? "") as Setting;
const print = (result: CaseResult) => console.log(JSON.stringify(result));
const [first, ...others] = nodeTransports(setting);
await run(webTransports(setting), CASES, setting, print);
// AppCallback on its own port does not depend on the transport, so it is tested once.
const withPort = { ...CASES, pubsub: [...(CASES["pubsub"] ?? []), ...appCallback] };
await run(first ? [first] : [], withPort, setting, print);
await run(others, CASES, setting, print);
// Deno's `node:http` keeps a process alive after a canceled upload over HTTP/1.1.
if ("Deno" in globalThis) process.exit();
