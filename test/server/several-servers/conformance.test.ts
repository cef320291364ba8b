import assert from "node:assert/strict";
import type { Transport } from "@connectrpc/connect";
import { afterAll, test } from "vitest";
import type { Case } from "../../../src/conformance/case.js";
import { conformance } from "../../../src/conformance/suite.js";
import { openTarget, type Target } from "../../../src/conformance/target.js";
import { memoryEngine } from "../../../src/server/engines/memory.js";
import { createTransportOver } from "../../../src/transport/tunnel.js";
import { createSocketPair } from "../../../src/tunnel/socket/pair.js";
import { conformanceConfig, openMirror, STORES } from "../../conformance/config.js";
import { openSeveral, spreadCalls } from "../../support/several-servers.js";
import { testEngine } from "../../support/test-engine.js";

const opened: AsyncDisposable[] = [];
const mirror = openMirror();

afterAll(async () => {
  for (const each of opened) await each[Symbol.asyncDispose]();
  await (await mirror)[Symbol.asyncDispose]();
});

/** Three servers as one: each call goes to the next server, and so does each app that dials in. */
async function openTargetOfThree(movable: boolean): Promise<Target> {
  let nowMs = Date.now();
  const config = conformanceConfig((await mirror).url);
  const engine = movable ? { engine: memoryEngine({ now: () => nowMs }) } : {};
  const several = await openSeveral({ config, ...engine });
  opened.push(several);
  const transport: Transport = spreadCalls(several.servers);
  const passTime = (ms: number) => {
    nowMs += ms;
  };
  let dialled = 0;
  return openTarget({
    stores: STORES,
    transport,
    second: async () => ({ transport: spreadCalls(several.servers), close: async () => {} }),
    dialIn: (appId) => {
      const one = several.servers[++dialled % several.servers.length] ?? assert.fail();
      const open = async () => {
        const { ends } = createSocketPair();
        one.server.tunnels.accept(ends[0]);
        return ends[1];
      };
      return createTransportOver("http://here", open, { appId });
    },
    ...(movable && { passTime }),
  });
}

const movesClock = ({ needs }: Case) =>
  needs.includes("clock") || (needs.includes("time") && testEngine === undefined);

/** Cases that hold for each server, while here each call goes to another one. */
const OF_ONE_SERVER = [
  // Each server takes turns of its own.
  "service: apps of one name are asked in turn",
  // Each server has a segment of its own.
  "sequencer: the default is WEAK, from a segment that a STRONG id comes after",
  // Each server is a member.
  "gossipMap: what the server tells of itself is one source",
  // The others apply it a moment later: see configuration.test.ts.
  "lifecycle: a greeting is replaced for the next call, under both names of its kind and its setting",
  // Events that return at the same time may reach consumers of another server in another order.
  ...(testEngine === "jetstream" ? ["pubsub: half-close ends OK, and what was not answered goes back"] : []),
];

let shared: Promise<Target> | undefined;
conformance(
  (name, run) => {
    if (!OF_ONE_SERVER.includes(name)) test.concurrent(name, run);
  },
  (one) => (movesClock(one) ? openTargetOfThree(true) : (shared ??= openTargetOfThree(false))),
);
