import { Code } from "@connectrpc/connect";
import {
  type LockKeepAliveResponse_Status as Renewed,
  Runtime,
  type UnlockResponse_Status as Unlocked,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { FENCE_HEADER } from "../../rpc/extension-headers.js";
import { sleep } from "../../rpc/sleep.js";
import { equal, ok } from "../expect.js";
import { callsOf, firstRequests, type Scenario, type Script, serverError } from "./scenario.js";

const { tryLock, unlock, lockKeepAlive } = Runtime.method;
const LOCK = { primitive: "lock", rule: "TryLock" } as const;
const KEEP = { primitive: "lock", rule: "LockKeepAlive" } as const;
const TRY = { call: "lock.tryAcquire", resource: "r", ttlSeconds: 10 } as const;
const grantLocks = (more: Script = {}): Script => ({
  tryLock: () => ({ success: true }),
  unlock: () => ({ status: 0 }),
  lockKeepAlive: () => ({ status: 0 }),
  ...more,
});

/** Possible answers to TryLock, LockKeepAlive and Unlock. */
export const lockScenarios: readonly Scenario[] = [
  {
    ...LOCK,
    id: "lock-refused",
    sentence: "a lock that another holds is not granted, and that is no error",
    operation: TRY,
    expected: { value: { granted: false, fence: null } },
    createScript: () => grantLocks({ tryLock: () => ({}) }),
  },
  {
    ...LOCK,
    id: "lock-contention-error",
    sentence: "a refusal that comes as an error, as of the Go runtime's mongo store, is not a grant",
    rule: "Go runtime: 4 mongo answers contention as Unknown",
    operation: TRY,
    expected: { code: "unknown" },
    createScript: () =>
      grantLocks({
        tryLock() {
          throw serverError(Code.Unknown, "write conflict");
        },
        unlock: () => ({ status: 2 }),
      }),
  },
  {
    ...LOCK,
    id: "lock-no-fence",
    sentence: "a grant without a fence is a grant",
    rule: "Go runtime: 0 no response metadata",
    operation: TRY,
    expected: { value: { granted: true, fence: null } },
    createScript: () => grantLocks(),
  },
  {
    ...LOCK,
    id: "lock-fence",
    sentence: "a fence beyond 2^53 is returned to the last digit",
    isFairlead: true,
    operation: TRY,
    expected: { value: { granted: true, fence: "9007199254740993" } },
    createScript: () =>
      grantLocks({
        tryLock(_, { responseHeader }) {
          responseHeader.set(FENCE_HEADER, "9007199254740993");
          return { success: true };
        },
      }),
  },
  {
    ...LOCK,
    id: "lock-owners",
    sentence: "two acquisitions have two owners, as locks are not re-entrant",
    operation: { ...TRY, times: 2 },
    expected: { value: { granted: true, fence: null } },
    createScript: () => grantLocks(),
    checkCalls(calls) {
      const owners = firstRequests(calls, tryLock).map(({ lockOwner }) => lockOwner);
      ok(owners.length === 2 && !owners.includes(""), "each request names an owner");
      ok(owners[0] !== owners[1], "the owners differ");
    },
  },
  {
    ...LOCK,
    id: "lock-late-grant",
    sentence: "a grant that comes after its lease has ended is none, and is given back",
    operation: { ...TRY, ttlSeconds: 1 },
    expected: { value: { granted: false, fence: null } },
    createScript: () =>
      grantLocks({
        async tryLock(_, { signal }) {
          await sleep(1100, signal);
          return { success: true };
        },
      }),
    checkCalls: expectRelease,
  },
  {
    ...LOCK,
    id: "lock-lost-answer",
    sentence: "a lock that may have been granted by a request that failed is given back",
    rule: "the engine is away",
    operation: TRY,
    expected: { code: "unavailable" },
    createScript: () =>
      grantLocks({
        tryLock() {
          throw serverError(Code.Unavailable, "the connection was lost");
        },
      }),
    checkCalls: expectRelease,
  },
  ...releaseScenarios(),
  {
    ...LOCK,
    id: "lock-release-owner",
    sentence: "a release names the store, the resource and the owner of the grant",
    rule: "Unlock",
    operation: { call: "lock.release", resource: "r", ttlSeconds: 10 },
    expected: { value: true },
    createScript: () => grantLocks(),
    checkCalls: expectRelease,
  },
  {
    ...KEEP,
    id: "lock-renewed",
    sentence: "a lock is renewed by its owner before its lease ends, and held on",
    operation: { call: "lock.hold", resource: "r", ttlSeconds: 6, forMs: 4500 },
    expected: { value: "held" },
    createScript: () => grantLocks(),
    checkCalls(calls) {
      const [grant] = callsOf(calls, tryLock);
      const [renewal] = callsOf(calls, lockKeepAlive);
      ok(grant && renewal && renewal.atMs - grant.atMs < 6000, "it was renewed within the six seconds");
      const [first, again] = [firstRequests(calls, tryLock)[0], firstRequests(calls, lockKeepAlive)[0]];
      equal(again?.lockOwner, first?.lockOwner, "the owner of the renewal");
      equal(again?.expire, 6, "what it asks for, in seconds");
    },
  },
  ...lostLockScenarios(),
];

/** Statuses of Unlock. 99 is in no version of the API. */
function releaseScenarios(): Scenario[] {
  const statuses: [string, number, string][] = [
    ["gone", 1, "a release that finds no lock did not release one"],
    ["others", 2, "a release of what belongs to another did not release it"],
    ["internal", 3, "a release that failed inside is no release"],
    ["unknown-status", 99, "a release with a status that nobody knows is not taken for done"],
  ];
  return statuses.map(([name, status, sentence]) => ({
    id: `lock-release-${name}`,
    primitive: "lock",
    sentence,
    rule: "Unlock",
    operation: { call: "lock.release", resource: "r", ttlSeconds: 10 },
    expected: { value: false },
    createScript: () => grantLocks({ unlock: () => ({ status: status as Unlocked }) }),
    checkCalls: (calls) => ok(callsOf(calls, unlock).length > 0, "the release was sent"),
  }));
}

/** Answers to LockKeepAlive after which the lock is lost: at once, or when its lease ends. */
function lostLockScenarios(): Scenario[] {
  const statuses: [name: string, status: number, ttlSeconds: number, sentence: string][] = [
    ["gone", 1, 6, "a lock that a renewal finds gone is lost at once"],
    ["others", 2, 6, "a lock that a renewal finds in other hands is lost at once"],
    ["unknown-status", 99, 4, "a renewal with a status that nobody knows is none, and the lease ends"],
  ];
  const hold = (ttlSeconds: number) =>
    ({ call: "lock.hold", resource: "r", ttlSeconds, forMs: 4200 }) as const;
  const scenarios = statuses.map(
    ([name, status, ttlSeconds, sentence]): Scenario => ({
      ...KEEP,
      id: `lock-renewal-${name}`,
      sentence,
      operation: hold(ttlSeconds),
      expected: { value: "lost" },
      createScript: () => grantLocks({ lockKeepAlive: () => ({ status: status as Renewed }) }),
    }),
  );
  const go: Scenario = {
    ...KEEP,
    id: "lock-renewal-fails",
    sentence: "a lock that cannot be renewed is lost before its lease ends",
    rule: "Go runtime: 4.1 LockKeepAlive is always Internal",
    operation: hold(4),
    expected: { value: "lost" },
    createScript: () =>
      grantLocks({
        lockKeepAlive() {
          throw serverError(Code.Internal, "grpc: error while marshaling: proto: Marshal called with nil");
        },
      }),
  };
  return [...scenarios, go];
}

/** Fails unless Unlock was called for the first grant. */
function expectRelease(calls: Parameters<NonNullable<Scenario["checkCalls"]>>[0]): void {
  const [claim] = firstRequests(calls, tryLock);
  const [back] = firstRequests(calls, unlock);
  ok(back, "Unlock was called");
  const names = (of?: { storeName: string; resourceId: string; lockOwner: string }) =>
    of && [of.storeName, of.resourceId, of.lockOwner];
  equal(names(back), names(claim), "what Unlock names");
}
