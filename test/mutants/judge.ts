import { runCase } from "../../src/conformance/run.js";
import { cases } from "../../src/conformance/suite.js";
import { openTarget, type Target } from "../../src/conformance/target.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { nodePlatform } from "../../src/server/listen.js";
import { createServer } from "../../src/server/server.js";
import { tunnelOver } from "../../src/transport/tunnel.js";
import { pair } from "../../src/tunnel/pair.js";
import { conformanceConfig, openMirror, STORES } from "../suite/config.js";

/** Runs the cases of the primitives that it is given, in this process, and prints the names of those that failed. */
const wanted = new Set(process.argv.slice(2));
const mirror = await openMirror();

async function open(movable: boolean): Promise<Target> {
  let nowMs = Date.now();
  const server = createServer({
    platform: nodePlatform,
    config: conformanceConfig(mirror.url),
    ...(movable && { engine: memoryEngine({ now: () => nowMs }) }),
  });
  return openTarget({
    transport: server.transport(),
    stores: STORES,
    second: async () => ({ transport: server.transport(), close: async () => {} }),
    dialIn: (appId) =>
      tunnelOver(
        "http://here",
        async () => {
          const { ends } = pair();
          server.tunnels.accept(ends[0]);
          return ends[1];
        },
        { appId },
      ),
    ...(movable && {
      passTime: (ms) => {
        nowMs += ms;
      },
    }),
  });
}

const failed: string[] = [];
let shared: Promise<Target> | undefined;
const waiting = cases.filter(({ primitive }) => wanted.has(primitive)).values();
const work = async () => {
  for (const one of waiting) {
    const movesClock = one.needs.includes("time") || one.needs.includes("clock");
    const outcome = await runCase(one, await (movesClock ? open(true) : (shared ??= open(false))), 10_000);
    if (outcome.status !== "passed") failed.push(`${one.primitive}: ${one.name}`);
  }
};
await Promise.all(Array.from({ length: 16 }, work)).catch((error: unknown) =>
  failed.push(`nothing runs: ${error}`),
);
process.stdout.write(JSON.stringify(failed));
process.exit();
