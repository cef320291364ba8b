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
      "const unique = [...new Set(requested)];",
      "const unique = [...requested];",
      /duplicates once/,
    ],
    [
      "bulk reads are sorted",
      "return { items: unique.map((key, i) => ({ key, ...(entries[i] && read(entries[i], nowMs)) })) };",
      "return { items: unique.map((key, i) => ({ key, ...(entries[i] && read(entries[i], nowMs)) })).sort((a, b) => (a.key < b.key ? -1 : 1)) };",
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
      "if (ifVersion !== 0n || !isAbsent) throw conflictError(store, { ...earlier, ifVersion }, undefined);",
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
  ...faultsOf("state", "services/shared/keyspace.ts", [
    [
      "stores run into each other",
      '[room, ...parts].join("\\0")',
      '[room, ...(room === "state" ? parts.slice(1) : parts)].join("\\0")',
      /stores are apart/,
    ],
  ]),
  ...faultsOf("state", "calls/validate.ts", [
    [
      "enum numbers are not checked",
      "if (desc.value[value as number]) return;",
      "return;",
      /consistency that is none|concurrency that is none/,
    ],
  ]),
  ...faultsOf("state", "calls/validate/field-rules.ts", [
    [
      "keys may be empty",
      'if (value === "") throw invalid(field, value, `${EMPTY}: 1 to ${limits.keyBytes} bytes`);',
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
      'if (hasControls(text)) throw invalid(field, text, "must not contain control characters");',
      "",
      /malformed name/,
    ],
    [
      "values are not bounded",
      'if (length > valueBytes) throw exhausted("valueBytes", valueBytes, `${field} has ${length} bytes`);\n};\n\n/** The content of a google',
      "};\n\n/** The content of a google",
      /naming valueBytes/,
    ],
  ]),
  ...faultsOf("state", "errors.ts", [
    [
      "errors have no BadRequest",
      "{ desc: BadRequestSchema, value: { fieldViolations: [violation] } },",
      "",
      /naming the field/,
    ],
    [
      "what is not configured is not found",
      "`${label} ${quote(name)} is not configured; ${names}`,\n    Code.InvalidArgument,",
      "`${label} ${quote(name)} is not configured; ${names}`,\n    Code.NotFound,",
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
      "versions start again with each key",
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
  ...faultsOf("state", "services/shared/keyspace.ts", [
    [
      "keys with bars are refused",
      '[room, ...parts].join("\\0")',
      '[room, ...parts.map((part) => (part.includes("||") ? Reflect.get(Object, part).refused : part))].join("\\0")',
      /may contain \|\|/,
    ],
  ]),
  ...faultsOf("state", "services/state.ts", [
    [
      "values have seven bits",
      "return { data: value, etag: String(version), metadata };",
      "return { data: value.map((byte) => byte & 127), etag: String(version), metadata };",
      /byte by byte/,
    ],
    [
      "missing keys have an etag",
      "return entry ? read(entry, clock.now()) : {};",
      'return entry ? read(entry, clock.now()) : { etag: "0" };',
      /GetState of a missing key|a deleted key is missing/,
    ],
    [
      "empty values are none",
      "return entry ? read(entry, clock.now()) : {};",
      "return entry?.value.length ? read(entry, clock.now()) : {};",
      /stored empty value/,
    ],
    [
      "reading makes an entry",
      "return entry ? read(entry, clock.now()) : {};",
      'if (!entry) await keys.commit([{ type: "set", key: keyOf("state", storeName, key), value: new Uint8Array() }]);\n      return entry ? read(entry, clock.now()) : {};',
      /does not bring it into being/,
    ],
    [
      "writes are answered before they are made",
      "const commit = await keys.commit([...fences, ...writes]);",
      "setTimeout(() => void keys.commit(writes), 30);\n    const commit = await keys.commit([...fences]);",
      /read the latest|read at once|just written/,
    ],
    [
      "an empty etag is malformed",
      'if (etag === "" || etag === "0") {',
      'if (etag === "0") {',
      /no etag|the etag ""/,
    ],
    [
      "LAST_WRITE creates only",
      "item.options?.concurrency === Concurrency.CONCURRENCY_FIRST_WRITE",
      "(item.options?.concurrency ?? 0) !== Concurrency.CONCURRENCY_UNSPECIFIED",
      /LAST_WRITE and unspecified/,
    ],
    [
      "no keys are all keys",
      "const unique = [...new Set(requested)];",
      'const unique = [...new Set(requested.length > 0 ? requested : ["x"])];',
      /of no keys/,
    ],
    [
      "bulk reads have etags of their own",
      "...(entries[i] && read(entries[i], nowMs)) })) };",
      '...(entries[i] && { ...read(entries[i], nowMs), etag: "1" }) })) };',
      /the etags of GetState/,
    ],
    [
      "a batch is its first item",
      'const operations = states.map((item, i) => ({ type: "upsert"',
      'const operations = states.slice(0, 1).map((item, i) => ({ type: "upsert"',
      /stores every item/,
    ],
    [
      "missing keys cannot be deleted",
      "deleteBulkState({ storeName, states }, { requestHeader, responseHeader }) {",
      'async deleteBulkState({ storeName, states }, { requestHeader, responseHeader }) {\n      for (const { key } of states) {\n        if (!(await keys.get(keyOf("state", storeName, key)))) throw invalid("key", key, "must be there");\n      }',
      /DeleteBulkState of missing keys/,
    ],
    [
      "empty batches are refused",
      "if (writes.length === 0) return {};",
      'if (writes.length === 0) throw invalid("states", "[]", "must have items");',
      /empty batches|of no operations/,
    ],
    [
      "the first write of a key stays",
      'writes.set(key, { type: "set", key, value: item.value, ttlMs: kept, ...firstCondition });',
      'if (!earlier) writes.set(key, { type: "set", key, value: item.value, ttlMs: kept, ...firstCondition });',
      /twice in a batch|last operation on a key/,
    ],
    [
      "a delete after a write is forgotten",
      "writes.set(key, { type, key, ...firstCondition });",
      "if (!earlier) writes.set(key, { type, key, ...firstCondition });",
      /then delete leaves nothing/,
    ],
    [
      "what a transaction deletes is there for it",
      'const isAbsent = earlier.type === "delete";',
      "const isAbsent = false;",
      /delete, then create/,
    ],
    ["transactions only upsert", "type: operationType,", 'type: "upsert" as const,', /upserts and deletes/],
    [
      "everything has a lifetime",
      'if (ttlInSeconds === undefined) return "keep";',
      "if (ttlInSeconds === undefined) return 60_000;",
      /fresh write without ttlInSeconds/,
    ],
  ]),
  ...faultsOf("state", "engines/memory/keys.ts", [
    [
      "the longer value stays",
      "const entry: Entry = { key, value: compactBytes(write.value), version };",
      "const longer = present && present.value.length > write.value.length ? present.value : write.value;\n    const entry: Entry = { key, value: compactBytes(longer), version };",
      /replaces the whole value/,
    ],
    [
      "the same value keeps its version",
      "const entry: Entry = { key, value: compactBytes(write.value), version };",
      "const same = present && String(present.value) === String(write.value);\n    const entry: Entry = { key, value: compactBytes(write.value), version: same ? present.version : version };",
      /every write gives a new etag/,
    ],
    [
      "deletes do nothing",
      "if (present) this.#remove(present);\n      return;",
      "return;",
      /creates again what was deleted|a deleted key is missing/,
    ],
    [
      "a deleted entry's lifetime is remembered",
      "const present = this.#entries.get(key);",
      "const before = this as unknown as Record<string, Entry>;\n    const present = this.#entries.get(key) ?? before[key];\n    if (present) before[key] = present;",
      /deleted has no lifetime/,
    ],
  ]),
];
