import { Code } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { ID_COUNT_HEADER } from "../../rpc/extension-headers.js";
import { equal } from "../expect.js";
import { callsOf, firstRequests, respondInOrder, type Scenario, serverError } from "./scenario.js";

const { getNextId } = Runtime.method;
const IDS = { primitive: "sequencer", rule: "GetNextId" } as const;
const take = (count: number) => ({ call: "sequencer.take", key: "k", count }) as const;
const ids = (...all: bigint[]) => ({ getNextId: respondInOrder(...all.map((nextId) => ({ nextId }))) });

/** Possible answers to GetNextId. */
export const sequencerScenarios: readonly Scenario[] = [
  {
    ...IDS,
    id: "ids-large",
    sentence: "an id beyond 2^53 is returned to the last digit",
    operation: take(1),
    expected: { value: ["9223372036854775807"] },
    createScript: () => ids(9223372036854775807n),
  },
  {
    ...IDS,
    id: "ids-strong",
    sentence: "what has to grow is asked for as STRONG: without it a server may give WEAK",
    operation: { ...take(1), strong: true },
    expected: { value: ["5"] },
    createScript: () => ids(5n),
    checkCalls: (calls) => equal(firstRequests(calls, getNextId)[0]?.options?.increment, 1, "the increment"),
  },
  {
    ...IDS,
    id: "ids-no-blocks",
    sentence: "a server that does not confirm a block gave one id, and is asked for each",
    rule: "Go runtime: 5 GetNextId knows no blocks",
    operation: take(3),
    expected: { value: ["1", "2", "3"] },
    createScript: () => ids(1n, 2n, 3n, 4n),
    checkCalls: (calls) => equal(callsOf(calls, getNextId).length >= 3, true, "three requests"),
  },
  {
    ...IDS,
    id: "ids-jump",
    sentence: "ids that jump and fall are unique, and returned as they come",
    rule: "Go runtime: 5 STRONG jumps past a segment, WEAK goes on within it",
    operation: take(3),
    expected: { value: ["2", "10001", "3"] },
    createScript: () => ids(2n, 10001n, 3n, 4n),
  },
  {
    ...IDS,
    id: "ids-block",
    sentence: "of a block no more ids are taken than the server confirms",
    isFairlead: true,
    operation: take(3),
    expected: { value: ["10", "11", "50"] },
    createScript() {
      const blocks = respondInOrder({ nextId: 10n }, { nextId: 50n });
      const single = respondInOrder({ nextId: 10n }, { nextId: 11n }, { nextId: 50n });
      return {
        getNextId({ metadata }, { responseHeader }) {
          // A client that requests single ids gets the same ids.
          if (!metadata["count"]) return single();
          responseHeader.set(ID_COUNT_HEADER, "2");
          return blocks();
        },
      };
    },
  },
  {
    ...IDS,
    id: "ids-swap-error",
    sentence: "a segment that was not ready in time is an error, not an id",
    rule: "Go runtime: 5 Unknown swap error",
    operation: take(1),
    expected: { code: "unknown" },
    createScript: () => ({
      getNextId() {
        throw serverError(Code.Unknown, "swap error");
      },
    }),
  },
  {
    ...IDS,
    id: "ids-option-refused",
    sentence: "a refused option is an error, not an id",
    rule: "Go runtime: 5 an increment that is neither 0 nor 1 is Unknown",
    operation: { ...take(1), strong: true },
    expected: { code: "unknown" },
    createScript: () => ({
      getNextId() {
        throw serverError(Code.Unknown, "options.Increment is illegal");
      },
    }),
  },
];
