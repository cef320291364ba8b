import assert from "node:assert/strict";
import type { Transport } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { createJudge, type Observation, type Scenario } from "../../src/conformance/index.js";
import { marked, seenOf } from "../judge/loop.js";
import { type Mutant, mutants } from "../judge/mutants.js";

const all = createJudge().scenarios;

const sooner = ({ call, forMs }: { call: string; forMs: number }) =>
  call === "configuration.follow" ? 1500 : forMs;

/** What is to be told of a client that never comes to an end. */
const hung = () => new Promise<Observation>((resolve) => setTimeout(resolve, 5000, { code: "hung" }));

/** Has a client judged in this process, by the scenarios `ids`, and gives the verdicts. */
async function judgedHere(
  ids: readonly string[],
  seen: (transport: Transport, scenario: Scenario) => Promise<Observation>,
) {
  const scenarios = all.filter(({ id }) => ids.includes(id));
  const judge = createJudge({ scenarios, lateMs: 300 });
  const transport = judge.server.transport();
  await Promise.all(
    scenarios.map(async (one) =>
      judge.evaluate(one.id, await Promise.race([seen(marked(transport, one.id), one), hung()])),
    ),
  );
  return judge.verdicts();
}

async function isTold({ told, tamper = (same) => same, options }: Mutant): Promise<void> {
  const known = new Set(all.map(({ id }) => id));
  assert.deepEqual(
    told.filter((id) => !known.has(id)),
    [],
  );
  const verdicts = await judgedHere(told, (transport, { id, operation }) =>
    // Whoever waits in vain need not wait for long.
    seenOf(
      tamper(transport),
      id,
      { ...operation, ...("forMs" in operation && { forMs: sooner(operation) }) },
      options,
    ),
  );
  const missed = verdicts.filter(({ status }) => status !== "mishandled");
  assert.deepEqual(
    missed.map(({ scenario }) => scenario.id),
    [],
  );
}

test.concurrent.each(mutants.filter(({ timed }) => !timed))("a client that $name is told", isTold);

test("each scenario tells a client that does all of it, and reports something else", async () => {
  const quick = all.filter(({ operation }) => operation.call !== "lock.hold");
  const wrong: Observation = { value: "something else" };
  const verdicts = await judgedHere(
    quick.map(({ id }) => id),
    async (transport, { id, operation }) => {
      await seenOf(transport, id, operation);
      return wrong;
    },
  );
  assert.deepEqual(
    verdicts.filter(({ status }) => status !== "mishandled").map(({ scenario }) => scenario.id),
    [],
  );
});

test("each scenario tells a client that does none of it, and reports what it should have seen", async () => {
  const verdicts = await judgedHere(
    all.map(({ id }) => id),
    async (_, { expected: { code, ...seen } }) => ({
      ...seen,
      ...(code && { code: [code].flat()[0] as string }),
    }),
  );
  assert.deepEqual(
    verdicts.filter(({ status }) => status !== "mishandled").map(({ scenario }) => scenario.id),
    [],
  );
});

describe("by its timing", () => {
  test.concurrent.each(mutants.filter(({ timed }) => timed))("a client that $name is told", isTold);
});
