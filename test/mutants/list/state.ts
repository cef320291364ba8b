// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const stateMutants: readonly Mutant[] = [
  ...faultsOf("state", "services/state.ts", [
    [
      "etags are not numbers",
      "return { data: value, etag: String(version), metadata };",
      "return { data: value, etag: `v${version}`, metadata };",
      /an etag is a decimal version/,
    ],
    ["etags are not heeded", "return BigInt(etag);", "return undefined;", /etag that does not match/],
    [
      "malformed etags are no condition",
      "if (!/^[1-9]\\d{0,18}$/.test(etag)) {",
      'if (!/^[1-9]\\d{0,18}$/.test(etag)) return undefined;\n  if (etag === "") {',
      /malformed etag is invalid_argument/,
    ],
    ['"0" is an etag', 'if (etag === "" || etag === "0") {', 'if (etag === "") {', /the etag "0"/],
    [
      "FIRST_WRITE overwrites",
      "return create ? 0n : undefined;",
      "return undefined;",
      /FIRST_WRITE without an etag creates only/,
    ],
    [
      "deletes create",
      'const create = type === "upsert" && item',
      "const create = item",
      /FIRST_WRITE on a delete/,
    ],
    [
      "a transaction ignores odd types",
      'if (operationType !== "upsert" && operationType !== "delete") {',
      'if (operationType === "never") {',
      /operation type/,
    ],
    [
      "duplicates come twice",
      "const once = [...new Set(wanted)];",
      "const once = [...wanted];",
      /duplicates once/,
    ],
    [
      "bulk reads are sorted",
      "return { items: once.map((key, i) => ({ key, ...(entries[i] && read(entries[i])) })) };",
      "return { items: once.map((key, i) => ({ key, ...(entries[i] && read(entries[i])) })).sort((a, b) => (a.key < b.key ? -1 : 1)) };",
      /request order/,
    ],
    [
      "a ttl is cleared by a plain write",
      'if (ttlInSeconds === undefined) return "keep";',
      "if (ttlInSeconds === undefined) return undefined;",
      /keeps the lifetime/,
    ],
    [
      "a ttl of 0 is heeded",
      "return seconds > 0 ? seconds * 1000 : undefined;",
      'return seconds > 0 ? seconds * 1000 : "keep";',
      /clears the lifetime/,
    ],
    [
      "ttls are milliseconds",
      "return seconds > 0 ? seconds * 1000 : undefined;",
      "return seconds > 0 ? seconds : undefined;",
      /sets the lifetime/,
    ],
    [
      "odd ttls are taken",
      "if (!/^[+-]?\\d{1,12}$/.test(ttlInSeconds)) {",
      'if (ttlInSeconds === "never") {',
      /ttlInSeconds "1\.5"/,
    ],
    [
      "what is left is not told",
      'metadata["ttlRemainingMs"] = String',
      'metadata["ttlLeftMs"] = String',
      /ttlRemainingMs/,
    ],
    [
      "the key of a conflict is the engine's",
      'const key = write.key.slice(keyOf("state", store, "").length);',
      "const key = write.key;",
      /with the key and its etag/,
    ],
    [
      "later operations do not see earlier ones",
      "if (ifVersion !== 0n || !absent) throw refusal(store, { ...earlier, ifVersion }, undefined);",
      "",
      /spent after the first|then create is aborted/,
    ],
    [
      "a batch is not one commit",
      "const commit = await keys.commit([...fences, ...writes]);",
      'let commit = await keys.commit([...fences, ...writes.slice(0, 1)]);\n    for (const write of writes.slice(1)) {\n      if ("conflict" in commit) break;\n      commit = await keys.commit([write]);\n    }',
      /all of a batch or nothing/,
    ],
    ["stores are not checked", 'components.get("state", store);\n', "", /not configured is invalid_argument/],
  ]),
  ...faultsOf("state", "services/keyspace.ts", [
    [
      "stores run into each other",
      '[room, ...parts].join("\\0")',
      '[room, ...(room === "state" ? parts.slice(1) : parts)].join("\\0")',
      /stores are apart/,
    ],
  ]),
  ...faultsOf("state", "guard.ts", [
    [
      "keys may be empty",
      'if (value === "") throw invalid(field, value, `${empty}: 1 to ${limits.keyBytes} bytes`);',
      "",
      /without a key/,
    ],
    [
      "keys are counted in characters",
      'const bytes = utf8Length(value as string);\n  if (bytes > keyBytes) throw exhausted("keyBytes"',
      'const bytes = (value as string).length;\n  if (bytes > keyBytes) throw exhausted("keyBytes"',
      /1025 bytes/,
    ],
    [
      "names may have control characters",
      'if (/[\\u0000-\\u001f\\u007f]/.test(text)) throw invalid(field, text, "must not contain control characters");',
      "",
      /malformed name/,
    ],
    [
      "enum numbers are not checked",
      "if (numbers.value[value as number]) return;",
      "return;",
      /consistency that is none|concurrency that is none/,
    ],
    [
      "values are not bounded",
      'if (length > valueBytes) throw exhausted("valueBytes", valueBytes, `${field} has ${length} bytes`);\n};\n\n/** What an Any',
      "};\n\n/** What an Any",
      /naming valueBytes/,
    ],
  ]),
  ...faultsOf("state", "faults.ts", [
    [
      "errors have no BadRequest",
      "{ desc: BadRequestSchema, value: { fieldViolations: [violation] } },",
      "",
      /naming the field/,
    ],
    [
      "what is not configured is not found",
      "`${what} ${shown(name)} is not configured; ${names}`,\n    Code.InvalidArgument,",
      "`${what} ${shown(name)} is not configured; ${names}`,\n    Code.NotFound,",
      /not configured/,
    ],
    [
      "conflicts are failed preconditions",
      'return new ConnectError(why, Code.Aborted, undefined, [info("CONFLICT", facts)]);',
      'return new ConnectError(why, Code.FailedPrecondition, undefined, [info("CONFLICT", facts)]);',
      /aborted/,
    ],
  ]),
  ...faultsOf("state", "engines/memory/keys.ts", [
    [
      "entries expire late",
      "entry.expiresAtMs > nowMs) return entry;",
      "entry.expiresAtMs + 1 > nowMs) return entry;",
      /missing from that moment on/,
    ],
    [
      "entries do not expire",
      "entry.expiresAtMs > nowMs) return entry;",
      "entry.expiresAtMs > 0) return entry;",
      /expired key/,
    ],
    [
      "versions begin anew with each key",
      "const version = ++this.#version;",
      "const first = writes[0];\n    const version = (first ? (this.#entries.get(first.key)?.version ?? 0n) : 0n) + 1n;",
      /deleted and written again/,
    ],
  ]),
  ...faultsOf(["state", "lock"], "engines/memory/keys.ts", [
    [
      "conditions are not checked",
      "if (write.ifVersion !== undefined && write.ifVersion !== (actual?.version ?? 0n)) {",
      "if (write.ifVersion === -1n) {",
      /etag that does not match|not re-entrant/,
    ],
  ]),
];
