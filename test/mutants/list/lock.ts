// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const lockMutants: readonly Mutant[] = [
  ...faultsOf("lock", "services/lock.ts", [
    [
      "locks are re-entrant",
      "ifVersion: 0n, ttlMs: leaseMs },\n        freshFence",
      "ttlMs: leaseMs },\n        freshFence",
      /not re-entrant/,
    ],
    [
      "expire is in milliseconds",
      'const leaseMs = expire * 1000;\n      const writes: Write[] = [\n        { type: "set", key: lock, value: utf8(lockOwner)',
      'const leaseMs = expire;\n      const writes: Write[] = [\n        { type: "set", key: lock, value: utf8(lockOwner)',
      /whole seconds/,
    ],
    [
      "anyone may unlock",
      "if (fromUtf8(held.value) !== lockOwner) return { status: Unlock.LOCK_BELONG_TO_OTHERS };",
      "",
      /LOCK_BELONG_TO_OTHERS/,
    ],
    [
      "unlocking what is not locked is a success",
      "if (!held) return { status: Unlock.LOCK_UNEXIST };",
      "if (!held) return { status: Unlock.SUCCESS };",
      /LOCK_UNEXIST/,
    ],
    [
      "keeping alive does not extend",
      "ifVersion: held.version, ttlMs: leaseMs },",
      'ifVersion: held.version, ttlMs: "keep" },',
      /extends the lock/,
    ],
    [
      "anyone may keep alive",
      "if (fromUtf8(held.value) !== lockOwner) return { status: KeepAlive.LOCK_BELONG_TO_OTHERS };",
      "",
      /LockKeepAlive by someone else/,
    ],
    [
      "grants have no fence",
      "responseHeader.set(FENCE_HEADER, String(commit.version));\n      return { success: true };",
      "return { success: true };",
      /answers with its fence/,
    ],
    [
      "keeping alive gives a new fence",
      "String(lasts ? known.version : commit.version)",
      "String(commit.version)",
      /keeps the fence/,
    ],
  ]),
  ...faultsOf("lock", "services/fence.ts", [
    [
      "fences are not checked",
      'return { type: "check", key: keyOf("fence", store, resource), ifVersion: number };',
      'return { type: "check", key: keyOf("fence", store, resource) };',
      /older fence is aborted/,
    ],
    [
      "only the first fence counts",
      'return text.split(",").map((part) => {',
      'return text.split(",").slice(0, 1).map((part) => {',
      /several fences/,
    ],
  ]),
  ...faultsOf("lock", "guard.ts", [
    [
      "expire may be 0",
      'if ((value as number) <= 0) throw invalid(field, value, "must be above 0");',
      'if ((value as number) < 0) throw invalid(field, value, "must be above 0");',
      /expire of 0/,
    ],
  ]),
];
