// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const logMutants: readonly Mutant[] = [
  ...faultsOf("log", "services/log.ts", [
    [
      "offsets are not told",
      "responseTrailer.set(FIRST_OFFSET_TRAILER, String(first));",
      "",
      /first and last offset/,
    ],
    [
      "a follower ends",
      'const text = header.get(FOLLOW_HEADER) ?? "true";',
      'const text = "false";',
      /Consume follows/,
    ],
    [
      "what was cancelled is written",
      "batches.discard();",
      "await batches.finish();",
      /cancelled writes nothing/,
    ],
    [
      "times are not heeded",
      "if (/^\\d{1,15}$/.test(text)) return Number(text);",
      "if (/^\\d{1,15}$/.test(text)) return undefined;",
      /starts by time|finds nothing yet/,
    ],
    [
      "a time to come is the tail",
      "if (sinceMs !== undefined && timestampMs < sinceMs) continue;",
      "if (sinceMs !== undefined && timestampMs < 0) continue;",
      /a follower from a future time/,
    ],
  ]),
  ...faultsOf("log", "services/log/batches.ts", [
    [
      "records wait for the end",
      "this.#stopTimer = runAfter(LINGER_MS, () => this.#flush());",
      "",
      /does not keep its records/,
    ],
  ]),
  ...faultsOf("log", "calls/request-names.ts", [
    ["all logs are one", 'if (text === null) return "default";', 'return "default";', /logs are apart/],
    [
      "the default log is another",
      'if (text === null) return "default";',
      'if (text === null) return "none";',
      /it is the log default/,
    ],
    ["names are not decoded", "return decodeURIComponent(text);", "return text;", /percent-encoded|"%zz"/],
  ]),
  ...faultsOf("log", "services/log.ts", [
    ["names are not checked", "checkName(LOG_HEADER, name, limits);\n", "", /the log name/],
    [
      "reading makes a log",
      "else if (!(await registry.has(log))) return;",
      "else await registry.make(log);\n      if (!follow) await logs.append(log, [new Uint8Array()]);",
      /does not bring it into being/,
    ],
    [
      "no records have offsets too",
      "let first: bigint | undefined;",
      'let first: bigint | undefined;\n      responseTrailer.set(FIRST_OFFSET_TRAILER, "0");',
      /a Produce of no records/,
    ],
    [
      "values have seven bits",
      "BigInt(timestampMs), value };",
      "BigInt(timestampMs), value: value.map((byte) => byte & 127) };",
      /byte by byte/,
    ],
    ["offsets are exclusive", "let from = offset;", "let from = offset + 1n;", /offset [123] gives/],
    [
      "all begin at the second",
      "let from = offset;",
      "let from = offset > 99n ? 1n : 2n;",
      /offset (0|3|4|1000|\d{10,}) gives/,
    ],
    [
      "all follow",
      "logs.read(log, from, { follow, signal })",
      "logs.read(log, from, { follow: true, signal })",
      /ends at the tail/,
    ],
    [
      "malformed times are the beginning",
      "throw invalid(FROM_TIME_HEADER,",
      "return 0;\n  throw invalid(FROM_TIME_HEADER,",
      /fairlead-from-time "/,
    ],
    [
      "anything is to follow",
      "throw invalid(FOLLOW_HEADER,",
      "return true;\n  throw invalid(FOLLOW_HEADER,",
      /fairlead-follow "/,
    ],
  ]),
  ...faultsOf("log", "services/log/batches.ts", [
    [
      "answers come before the records are there",
      "this.#flush();\n    await this.#appending;",
      "const values = this.#values;\n    setTimeout(() => void this.#append(values), 50);",
      /can be read at once/,
    ],
    [
      "full batches are lost",
      "this.#bytes + value.length > BATCH_BYTES) this.#flush();",
      "this.#bytes + value.length > BATCH_BYTES) this.#values = [];",
      /many records|slow/,
    ],
    [
      "empty records are left out",
      "this.#values.push(value);",
      "if (value.length > 0) this.#values.push(value);",
      /an empty record/,
    ],
  ]),
  ...faultsOf("log", "services/log/registry.ts", [
    [
      "retention is not told to the engine",
      "await this.#engine.logs.retain(name, retention);",
      "",
      /skips forward/,
    ],
  ]),
  ...faultsOf("log", "engines/memory/logs.ts", [
    [
      "the last value is the first",
      "for (const value of values) {\n      this.#records.push(",
      "for (const value of [...values].reverse()) {\n      this.#records.push(",
      /in order|the same order/,
    ],
    [
      "every seventh record is lost",
      "for (const value of values) {\n      this.#records.push(",
      "for (const value of values) {\n      if (offset % 7n === 0n) offset++;\n      else this.#records.push(",
      /no record is lost|are each there once|see the same records/,
    ],
    [
      "a follower who waits is not woken by others",
      "for (const done of [...this.#waiting]) done();",
      "for (const done of [...this.#waiting].slice(0, 1)) done();",
      /any number of followers/,
    ],
    [
      "followers are not woken",
      "this.trim();\n    this.#wake();",
      "this.trim();",
      /what is appended later|follows as well|another client appends/,
    ],
  ]),
];
