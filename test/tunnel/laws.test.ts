import assert from "node:assert/strict";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import fc from "fast-check";
import { test } from "vitest";
import type { PairOptions } from "../../src/tunnel/socket/pair.js";
import type { Blobs } from "./blobs.js";
import { type Ends, openEnds, turns } from "./ends.js";
import { answer, anyPlan, failsByPlan, make, type Outcome, type Plan } from "./plan.js";

/** LAWS_MS=600000 runs each property for ten minutes. Default: a few seconds. */
const { LAWS_MS = "8000" } = process.env;
const RUNS = { numRuns: 100_000, interruptAfterTimeLimit: Number(LAWS_MS) };

const anyNet = fc.record({
  seed: fc.nat(),
  mostTurns: fc.integer({ min: 1, max: 4 }),
  regroup: fc.constantFrom(0, 0.3, 0.8),
});

const anyLimits = fc.record({
  // The smallest windows, so that all calls wait for credit.
  streamWindow: fc.constantFrom(64 * 1024, 256 * 1024),
  connectionWindow: fc.constantFrom(256 * 1024, 4 * 1024 * 1024),
  calls: fc.constantFrom(4, 1000),
});

/** Handlers that answer by their plans. Their assertion errors are collected in `wrong`. */
function serve(plans: readonly Plan[], outcomes: readonly Outcome[], wrong: unknown[]) {
  const answers = async function* (input: AsyncIterable<{ value: Uint8Array }>, context: HandlerContext) {
    try {
      yield* answer(plans, outcomes, input, context);
    } catch (error) {
      if (!(error instanceof ConnectError)) wrong.push(error);
      throw error;
    }
  };
  const one = async (input: AsyncIterable<{ value: Uint8Array }>, context: HandlerContext) => {
    const all: { value: Uint8Array }[] = [];
    for await (const each of answers(input, context)) all.push(each);
    return all[0] as { value: Uint8Array };
  };
  const asStream = async function* (ask: { value: Uint8Array }) {
    yield ask;
  };
  return {
    unary: (ask, context) => one(asStream(ask), context),
    server: (ask, context) => answers(asStream(ask), context),
    client: one,
    bidi: answers,
  } satisfies Partial<ServiceImpl<typeof Blobs>>;
}

type Limits = { streamWindow: number; connectionWindow: number; calls: number };

const lost = ({ dialler, acceptor }: Ends) => Promise.race([dialler.lost, acceptor.lost]);

interface Run {
  ends: Ends;
  outcomes: Outcome[];
  wrong: unknown[];
}

/** Makes all calls of a program, each at its time. Fails with the names of the calls that never end. */
async function run(plans: Plan[], net: PairOptions, limits: Limits): Promise<Run> {
  const outcomes = plans.map((): Outcome => ({ answered: 0 }));
  const wrong: unknown[] = [];
  const serves = serve(plans, outcomes, wrong);
  const ends = openEnds({ limits, serves }, { limits, serves }, net);
  // Before SETTINGS a limit of 100 calls is assumed.
  if (limits.calls < 100)
    await Promise.race([Promise.all([ends.dialler.ready, ends.acceptor.ready]), lost(ends)]);
  const calls = plans.map((plan, call) =>
    make(call, plan, outcomes[call] as Outcome, plan.by === 0 ? ends.dialler : ends.acceptor),
  );
  let hanging: NodeJS.Timeout | undefined;
  const hang = new Promise<never>((_, reject) => {
    const reportHanging = () =>
      reject(new Error(`calls hang: ${outcomes.map(({ how }, call) => (how ? "" : call)).join(" ")}`));
    hanging = setTimeout(reportHanging, 8000);
  });
  await Promise.race([Promise.all(calls), hang]).finally(() => clearTimeout(hanging));
  assert.deepEqual(wrong, []);
  return { ends, outcomes, wrong };
}

/** Checks an outcome. `mayBeLost`: the connection may have been cut. `mayBeFull`: the call may have been refused. */
function assertOutcome(plan: Plan, outcome: Outcome, call: number, { mayBeLost = false, mayBeFull = false }) {
  const { how, answered, handlerRead } = outcome;
  const what = `call ${call} ended with ${how instanceof ConnectError ? how.message : how}`;
  if (how === "well") {
    assert.equal(answered, plan.answers.length, what);
    assert(!failsByPlan(plan), what);
    assert.equal(outcome.trailer, plan.hasTrailer ? `t${call}` : null, what);
  } else if (how instanceof ConnectError) {
    if (how.code === Code.Canceled) assert(plan.abortsAt !== undefined, what);
    else if (how.code === Code.Unavailable) assert(mayBeLost, what);
    // Handlers of canceled calls that still run count towards the limit.
    else if (how.code === Code.ResourceExhausted) assert(mayBeFull, what);
    else {
      assert.equal(how.code, Code.FailedPrecondition, what);
      assert(failsByPlan(plan), what);
      const isStream = plan.kind === "server" || plan.kind === "bidi";
      assert.equal(answered, isStream ? plan.failsAfter : 0, what);
    }
  }
  // The request stream of a handler ends with an error unless it was read to its end, or as far as planned.
  if (handlerRead instanceof ConnectError) {
    assert(
      plan.abortsAt !== undefined || plan.leavesAfter !== undefined || mayBeLost || how === "left",
      what,
    );
  }
}

const mayBeFull = (plans: Plan[], { calls }: Limits): boolean =>
  calls < plans.length && plans.some(({ abortsAt, leavesAfter }) => (abortsAt ?? leavesAfter) !== undefined);

async function assertNothingIsLeft({ ends, outcomes, wrong }: Run, connectionWindow: number) {
  const { dialler, acceptor } = ends;
  const { bytesInFlight: underWay } = ends.net;
  const isQuiet = () =>
    dialler.session.isIdle && acceptor.session.isIdle && underWay[0] === 0 && underWay[1] === 0;
  // The last frames leave at the end of their turn, so the socket must be quiet for some turns.
  for (let i = 0, quiet = 0; i < 2000 && quiet < 5; i++) {
    await turns(2);
    quiet = isQuiet() ? quiet + 1 : 0;
  }
  assert.deepEqual(wrong, []);
  for (const { session, seen } of [dialler, acceptor]) {
    assert(session.isIdle, "a call is still worked on");
    assert.deepEqual(seen.open, [], "streams are open");
    // All messages were consumed or discarded, so at least half of the window has been returned.
    assert(seen.granted * 2 >= connectionWindow, `${seen.granted} of ${connectionWindow} bytes are granted`);
  }
  for (const { handlerSignal, handlerIsOver } of outcomes) {
    if (handlerSignal) assert(handlerIsOver, "a handler hangs");
  }
  ends.close();
}

test("any concurrent calls in both directions: what arrives is what was sent, or the call fails with a code", {
  timeout: 3_600_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyPlan, { minLength: 1, maxLength: 8 }),
      anyNet,
      anyLimits,
      async (plans, net, limits) => {
        const at = await run(plans, net, limits);
        for (const [call, plan] of plans.entries()) {
          assertOutcome(plan, at.outcomes[call] as Outcome, call, { mayBeFull: mayBeFull(plans, limits) });
        }
        await assertNothingIsLeft(at, limits.connectionWindow);
      },
    ),
    RUNS,
  );
});

test("the same if the connection is lost at any time: open calls are unavailable, and none hangs", {
  timeout: 3_600_000,
}, async () => {
  let lost = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyPlan, { minLength: 1, maxLength: 8 }),
      anyNet,
      anyLimits,
      fc.constantFrom(0.02, 0.1, 0.3),
      async (plans, net, limits, loss) => {
        const { ends, outcomes, wrong } = await run(plans, { ...net, lossChance: loss }, limits);
        for (const [call, plan] of plans.entries()) {
          assertOutcome(plan, outcomes[call] as Outcome, call, {
            mayBeLost: true,
            mayBeFull: mayBeFull(plans, limits),
          });
          if (outcomes[call]?.how instanceof ConnectError) lost++;
        }
        const sessions = [ends.dialler.session, ends.acceptor.session];
        ends.close();
        for (let i = 0; i < 1000 && !sessions.every(({ isIdle }) => isIdle); i++) await turns(5);
        for (const session of sessions) assert(session.isIdle && !session.canBeginCalls);
        for (const outcome of outcomes) assert(isOver(outcome), "a handler hangs");
        assert.deepEqual(wrong, []);
      },
    ),
    RUNS,
  );
  assert(lost > 0);
});

/** Whether the handler has ended, if it has begun. */
const isOver = ({ handlerSignal, handlerIsOver = false }: Outcome): boolean =>
  handlerSignal === undefined || handlerIsOver;
