// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const lockMutants: readonly Mutant[] = [
  ...faultsOf("lock", "services/lock.ts", [
    [
      "locks are re-entrant",
      "ifVersion: 0n, ttlMs: leaseMs },\n        newFence",
      "ttlMs: leaseMs },\n        newFence",
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
      "fence: outlivesLease ? known.version : commit.version",
      "fence: commit.version",
      /keeps the fence/,
    ],
  ]),
  ...faultsOf("lock", "services/shared/fence.ts", [
    [
      "fences are not checked",
      'return { type: "check", key: keyOf("fence", store, resource), ifVersion: number };',
      'return { type: "check", key: keyOf("fence", store, resource) };',
      /older fence is aborted/,
    ],
  ]),
  ...faultsOf("lock", "calls/request-names.ts", [
    [
      "only the first fence counts",
      'return text.split(",").map((part) => {',
      'return text.split(",").slice(0, 1).map((part) => {',
      /several fences/,
    ],
  ]),
  ...faultsOf("lock", "calls/validate/field-rules.ts", [
    [
      "expire may be 0",
      'if ((value as number) <= 0) throw invalid(field, value, "must be above 0");',
      'if ((value as number) < 0) throw invalid(field, value, "must be above 0");',
      /expire of 0/,
    ],
  ]),
  ...faultsOf("lock", "services/lock.ts", [
    [
      "all resources are one",
      'lock: keyOf("lock", store, resource)',
      'lock: keyOf("lock", store, "one")',
      /different resources/,
    ],
    [
      "all stores are one",
      'lock: keyOf("lock", store, resource)',
      'lock: keyOf("lock", "one", resource)',
      /another store is another lock/,
    ],
    [
      "what is not locked is kept alive",
      "if (!held) return { status: KeepAlive.LOCK_UNEXIST };",
      "if (!held) return { status: KeepAlive.SUCCESS };",
      /not locked is LOCK_UNEXIST|LockKeepAlive after Unlock/,
    ],
    [
      "a fence is told where there is no lock",
      "const [held, known] = await keys.getMany([lock, fence]);",
      "const [held, known] = await keys.getMany([lock, fence]);\n    if (known && !held) return { status: KeepAlive.LOCK_UNEXIST, fence: known.version };",
      /no fence where there is no lock/,
    ],
  ]),
  ...faultsOf("lock", "calls/request-names.ts", [
    [
      "malformed fences are others",
      "if (!match) throw invalid(FENCE_HEADER, part, FENCE_FORM);",
      'if (!match) return { store: "default", resource: part, number: 1n };',
      /the fence "/,
    ],
    [
      "malformed escapes are let be",
      "throw invalid(FENCE_HEADER, part, FENCE_FORM);\n  }",
      "return part;\n  }",
      /the fence "%zz/,
    ],
  ]),
  ...faultsOf("lock", "services/shared/fence.ts", [
    [
      "the store of a fence is not checked",
      'components.get("lock", store);\n',
      "",
      /a fence of a lock store that is not configured/,
    ],
  ]),
  ...faultsOf("lock", "calls/validate/field-rules.ts", [
    [
      "expire may be below 0",
      'if ((value as number) <= 0) throw invalid(field, value, "must be above 0");',
      'if ((value as number) === 0) throw invalid(field, value, "must be above 0");',
      /expire of -1/,
    ],
  ]),
];
