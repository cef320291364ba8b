import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Transport } from "@connectrpc/connect";
import { afterAll, beforeAll, test } from "vitest";
import { runCase } from "../../src/conformance/run-case.js";
import { cases } from "../../src/conformance/suite.js";
import { openTarget } from "../../src/conformance/target.js";
import { nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { conformanceConfig, openMirror, STORES } from "./config.js";

/** How much later than others a late answer comes, in milliseconds. */
const LATE_MS = 10;

const CONCURRENT_CASES = 12;

/** `transport` with a late answer to every second call, beginning with the first or the second. */
function withLateAnswers(transport: Transport, isFirstLate: boolean): Transport {
  let isNextLate = isFirstLate;
  /** The function that waits for the first answer of the next call, so that it is late or not. */
  const nextCall = () => {
    let delayMs = isNextLate ? LATE_MS : 0;
    isNextLate = !isNextLate;
    return async <T>(answer: Promise<T>): Promise<T> => {
      const [ms] = [delayMs, await Promise.allSettled([answer])];
      delayMs = 0;
      if (ms > 0) await sleep(ms);
      return answer;
    };
  };
  return {
    unary: (...args) => nextCall()(transport.unary(...args)),
    async stream(...args) {
      const awaitAnswer = nextCall();
      // It settles when the call has begun: the first answer is a message, or an error in place of it.
      const response = await transport.stream(...args);
      const message = {
        [Symbol.asyncIterator]() {
          const messages = response.message[Symbol.asyncIterator]();
          return { next: () => awaitAnswer(messages.next()) };
        },
      };
      return { ...response, message };
    },
  };
}

const unhandled = new Set<string>();
const note = (reason: unknown) => void unhandled.add(String(reason));
beforeAll(() => void process.on("unhandledRejection", note));
afterAll(() => void process.off("unhandledRejection", note));

// The process of a user ends if a case waits for one call while another one that it has begun fails.
test("no case leaves a rejection unhandled, whichever of two calls is answered first", async () => {
  await using mirror = await openMirror();
  await using server = createServer({ platform: nodePlatform, config: conformanceConfig(mirror.url) });
  const target = await openTarget({ stores: STORES, transport: server.transport() });
  const quick = cases.filter(
    ({ primitive, needs }) =>
      // A member of a gossip map has one stream, whose messages answer no others.
      primitive !== "gossipMap" && needs.every((need) => need !== "time" && target.has.has(need)),
  );
  assert.ok(quick.length > 500, `${quick.length} cases`);
  const remaining = quick.values();
  const failed: string[] = [];
  const runRemaining = async () => {
    for (const one of remaining) {
      for (const isFirstLate of [false, true]) {
        const transport = withLateAnswers(server.transport(), isFirstLate);
        const outcome = await runCase(one, { ...target, transport });
        if (outcome.status !== "passed") failed.push(`${one.primitive}: ${one.name}: ${outcome.status}`);
      }
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT_CASES }, runRemaining));
  assert.deepEqual([failed, [...unhandled]], [[], []]);
}, 60_000);
