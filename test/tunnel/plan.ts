import assert from "node:assert/strict";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import fc from "fast-check";
import type { End } from "./ends.js";
import { turns } from "./ends.js";

/** The behavior of both ends of a call. */
export interface Plan {
  by: 0 | 1;
  kind: "unary" | "server" | "client" | "bidi";
  /** The turns before it begins. */
  startsAt: number;
  /** The sizes of the messages of each half. */
  asks: number[];
  answers: number[];
  /** How many messages the handler reads. */
  reads: number;
  /** After how many responses the handler fails; never, if there are not as many. */
  failsAfter: number;
  /** The turns before the caller aborts. */
  abortsAt: number | undefined;
  /** After how many responses the caller leaves the loop. */
  leavesAfter: number | undefined;
  /** The turns that each end takes for a message. */
  slowness: number;
  hasTrailer: boolean;
}

const size = fc.oneof(
  { weight: 4, arbitrary: fc.nat({ max: 64 }) },
  { weight: 2, arbitrary: fc.nat({ max: 20_000 }) },
  { weight: 1, arbitrary: fc.nat({ max: 200 * 1024 }) },
);
const sizes = fc.array(size, { maxLength: 6 });
const seldom = (max: number) =>
  fc.option(fc.nat({ max }), { freq: 3, nil: undefined }).map((n) => (n === undefined ? undefined : n));

export const anyPlan: fc.Arbitrary<Plan> = fc
  .record({
    by: fc.constantFrom<0 | 1>(0, 1),
    kind: fc.constantFrom<Plan["kind"]>("unary", "server", "client", "bidi"),
    startsAt: fc.nat({ max: 10 }),
    asks: sizes,
    answers: sizes,
    ask: size,
    answer: size,
    reads: fc.oneof(fc.constant(100), fc.nat({ max: 5 })),
    failsAfter: fc.oneof(fc.constant(100), fc.constant(100), fc.nat({ max: 5 })),
    abortsAt: fc.oneof(fc.constant(undefined), seldom(25)),
    leavesAfter: fc.oneof(fc.constant(undefined), seldom(4)),
    slowness: fc.nat({ max: 2 }),
    hasTrailer: fc.boolean(),
  })
  .map(({ ask, answer, ...plan }) => ({
    ...plan,
    asks: plan.kind === "unary" || plan.kind === "server" ? [ask] : plan.asks,
    answers: plan.kind === "unary" || plan.kind === "client" ? [answer] : plan.answers,
  }));

export const failsByPlan = ({ failsAfter, answers }: Plan): boolean => failsAfter < answers.length;

/** The bytes of a message, which differ from those of every other one. */
function content(call: number, half: "ask" | "answer", index: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const first = call * 31 + index * 7 + (half === "ask" ? 0 : 101);
  for (let i = 0; i < size; i++) bytes[i] = (first + i * 3) & 0xff;
  return bytes;
}

function assertContent(
  call: number,
  half: "ask" | "answer",
  index: number,
  sizes: number[],
  got: Uint8Array,
) {
  const size = sizes[index];
  assert(size !== undefined, `call ${call} has an ${half} more than was sent`);
  const wanted = content(call, half, index, size);
  assert(Buffer.compare(wanted, got) === 0, `${half} ${index} of call ${call} is not what was sent`);
}

/** The outcome of a call. */
export interface Outcome {
  /** How the request stream ended in the handler; undefined if it has not. */
  handlerRead?: "all" | "enough" | ConnectError;
  handlerIsOver?: boolean;
  handlerSignal?: AbortSignal;
  answered: number;
  how?: "well" | "left" | ConnectError;
  trailer?: string | null;
}

/** Answers a call by its plan. */
export async function* answer(
  plans: readonly Plan[],
  outcomes: readonly Outcome[],
  input: AsyncIterable<{ value: Uint8Array }>,
  context: HandlerContext,
): AsyncGenerator<{ value: Uint8Array }> {
  const call = Number(context.requestHeader.get("x-call"));
  const plan = plans[call] as Plan;
  const outcome = outcomes[call] as Outcome;
  outcome.handlerSignal = context.signal;
  if (plan.hasTrailer) context.responseTrailer.set("x-trailer", `t${call}`);
  const source = input[Symbol.asyncIterator]();
  let read = 0;
  /** Whether there was another message. */
  const readOne = async (): Promise<boolean> => {
    if (read >= plan.reads) {
      outcome.handlerRead ??= "enough";
      return false;
    }
    try {
      const step = await source.next();
      if (step.done) {
        outcome.handlerRead ??= "all";
        assert.equal(read, plan.asks.length, `call ${call}: an end before all was read`);
        return false;
      }
      assertContent(call, "ask", read++, plan.asks, step.value.value);
    } catch (error) {
      if (error instanceof ConnectError) outcome.handlerRead = error;
      throw error;
    }
    await turns(plan.slowness);
    return true;
  };
  try {
    for (const [index, size] of plan.answers.entries()) {
      if (index >= plan.failsAfter) throw new ConnectError("as planned", Code.FailedPrecondition);
      await readOne();
      yield { value: content(call, "answer", index, size) };
    }
    while (await readOne()) {}
  } finally {
    outcome.handlerIsOver = true;
  }
}

/** Makes a call by its plan; resolves when the caller has finished. */
export async function make(call: number, plan: Plan, outcome: Outcome, { client }: End): Promise<void> {
  await turns(plan.startsAt);
  const abort = new AbortController();
  if (plan.abortsAt !== undefined) void turns(plan.abortsAt).then(() => abort.abort());
  const options = {
    headers: { "x-call": `${call}` },
    signal: abort.signal,
    onTrailer: (trailer: Headers) => {
      outcome.trailer = trailer.get("x-trailer");
    },
  };
  const asks = async function* () {
    for (const [index, size] of plan.asks.entries()) {
      yield { value: content(call, "ask", index, size) };
      await turns(plan.slowness);
    }
  };
  const ask = { value: content(call, "ask", 0, plan.asks[0] ?? 0) };
  const take = (value: Uint8Array) => assertContent(call, "answer", outcome.answered++, plan.answers, value);
  try {
    if (plan.kind === "unary") take((await client.unary(ask, options)).value);
    else if (plan.kind === "client") take((await client.client(asks(), options)).value);
    else {
      const stream = plan.kind === "server" ? client.server(ask, options) : client.bidi(asks(), options);
      for await (const { value } of stream) {
        take(value);
        if (outcome.answered === plan.leavesAfter) {
          // Leaving the loop does not end a call of Connect's client: its signal does.
          abort.abort();
          outcome.how = "left";
          return;
        }
        await turns(plan.slowness);
      }
    }
    outcome.how = "well";
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    outcome.how = error;
  }
}
