// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const logMutants: readonly Mutant[] = [
  ...faultsOf("log", "services/log.ts", [
    ["all logs are one", 'if (text === null) return "default";', 'return "default";', /logs are apart/],
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
      "batches.drop();",
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
      /a follower from a time to come/,
    ],
    [
      "retention is not told to the engine",
      "await this.#engine.logs.retain(name, retention);",
      "",
      /skips forward/,
    ],
  ]),
  ...faultsOf("log", "services/log/batches.ts", [
    [
      "records wait for the end",
      "this.#callOff = after(LINGER_MS, () => this.#flush());",
      "",
      /does not keep its records/,
    ],
  ]),
];
