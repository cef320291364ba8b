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
      "if (signal.aborted) throw canceled(signal);\n      await batches.finish();",
      "await batches.finish();",
      /never|cancelled writes nothing/,
    ],
    [
      "times are not heeded",
      "if (then > from) from = then;",
      "if (sinceMs < 0 && then > from) from = then;",
      /starts by time|finds nothing yet|never/,
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
  ...faultsOf("log", "services/log/batches.ts", [
    [
      "records wait for the end",
      "this.#callOff = after(LINGER_MS, () => this.#flush());",
      "",
      /does not keep its records/,
    ],
  ]),
];
