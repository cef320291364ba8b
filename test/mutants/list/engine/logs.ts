// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../../mutant.js";

export const logsMutants: readonly Mutant[] = [
  ...faultsOf("engine", "engines/memory/logs.ts", [
    [
      "offsets begin at 0",
      "first = 1n;\n  /** The number",
      "first = 0n;\n  /** The number",
      /offsets from 1n on/,
    ],
    [
      "all logs are one",
      "return (log ?? this.#create(name)).append(values, clock.wall());",
      "return (log ?? [...this.#logs.values()][0] ?? this.#create(name)).append(values, clock.wall());",
      /counts each log by itself/,
    ],
    [
      "values are appended one by one",
      "return (log ?? this.#create(name)).append(values, clock.wall());",
      "const to = log ?? this.#create(name);\n    const first = to.next;\n    for (const value of values) {\n      to.append([value], clock.wall());\n      await null;\n    }\n    return { first, last: to.next - 1n };",
      /keeps the values of each together/,
    ],
    [
      "values are cut",
      "value: compactBytes(value) });",
      "value: compactBytes(value.subarray(0, 1000)) });",
      /append\(\) keeps every byte/,
    ],
    [
      "the clock may go back and forth",
      "this.#lastMs = Math.max(this.#lastMs, nowMs);",
      "this.#lastMs = nowMs + (this.#records.length % 2 ? 0 : 9_000);",
      /stamps records/,
    ],
    [
      "the first record is left out",
      "const start = this.#head + Number(from - this.first);",
      "const start = this.#head + Number(from - this.first) + 1;",
      /begins at its offset/,
    ],
    [
      "a record between two batches is left out",
      "next = last.offset + 1n;",
      "next = last.offset + 2n;",
      /every record of a long log/,
    ],
    [
      "reading an unknown log fails",
      "if (!log) return;\n    log.readers++;",
      "if (!log) throw away();\n    log.readers++;",
      /read\(\) of an unknown log/,
    ],
    [
      "only one reads at a time",
      "log.readers++;\n    try {\n      for (let next = from;",
      "log.readers++;\n    try {\n      for (let next = log.readers > 1 ? log.next : from;",
      /several readers gives each its own place/,
    ],
    [
      "leaving a read forgets the log",
      "if (log.untouched) this.#logs.delete(name);",
      "this.#logs.delete(name);",
      /logs\.read\(\) may be left/,
    ],
    [
      "the next offset is the last one",
      "return { first: log.first, next: log.next };",
      "return { first: log.first, next: log.next - 1n };",
      /bounds\(\) tells/,
    ],
    [
      "a time is exclusive",
      ".timestampMs < timestampMs) low = middle + 1;",
      ".timestampMs <= timestampMs) low = middle + 1;",
      /seek\(\) finds/,
    ],
    [
      "followers end at the tail",
      "} else if (follow) {\n          await log.grown(signal);",
      "} else if (follow && next === 1n) {\n          await log.grown(signal);",
      /waits at the tail/,
    ],
    [
      "followers do not wait for a log",
      "(follow ? this.#create(name) : undefined)",
      "undefined",
      /waits for a log that is not there/,
    ],
    [
      "an offset to come is the tail",
      "if (next < log.first) next = log.first;",
      "if (next < log.first) next = log.first;\n        if (next > log.next) next = log.next;",
      /from an offset to come/,
    ],
    [
      "what is appended during a read is missed",
      "next = last.offset + 1n;\n          yield batch;",
      "yield batch;\n          next = log.next;",
      /misses nothing/,
    ],
    [
      "followers do not end",
      'this.#waiting.add(done);\n      signal.addEventListener("abort", done, { once: true });',
      "this.#waiting.add(done);",
      /read\(\) with follow ends when its signal/,
    ],
    [
      "what has aborted reads once",
      "for (let next = from; !signal.aborted; ) {",
      "for (let next = from, turn = 0; turn === 0 || !signal.aborted; turn++) {",
      /logs\.read\(\) with a signal that has aborted/,
    ],
    ["one record more is kept", "> maxRecords;", "> maxRecords + 1;", /maxRecords keeps/],
    ["twice the bytes are kept", "> maxBytes;", "> maxBytes * 2;", /maxBytes keeps/],
    [
      "records are kept for ever",
      "oldest.timestampMs <= tooOldMs;",
      "oldest.timestampMs <= tooOldMs - 60_000;",
      /maxAgeMs keeps/,
    ],
    [
      "the first retention stays",
      "this.#retention = retention;\n",
      "this.#retention ??= retention;\n",
      /replaces earlier settings/,
    ],
    [
      "retention is for all logs",
      "log.retain({ ...retention });",
      "for (const each of [log, ...this.#logs.values()]) each.retain({ ...retention });",
      /of one log leaves the others/,
    ],
    ["reads do not skip forward", "if (next < log.first) next = log.first;\n", "", /skips forward/],
    [
      "what is not retained is found",
      "return this.first + BigInt(low - this.#head);",
      "return 1n + BigInt(low - this.#head);",
      /knows only what is retained/,
    ],
  ]),
];
