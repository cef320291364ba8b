import assert from "node:assert/strict";
import { test } from "vitest";
import { parseConfig } from "../../src/server/config/config.js";
import { ConfigError } from "../../src/server/config/problems.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { createServer } from "../../src/server/server.js";

const election = { engine: "jetstream", url: "http://a:34904" };

/** The messages of all problems that a group with these settings has. */
function problemsOf(group: object, electionEngines?: string[]): string[] {
  try {
    parseConfig({ maps: { "/default": group } }, electionEngines ? { electionEngines } : {});
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems.map(({ message }) => message);
  }
}

test("an election has defaults for everything but its engine and its URL", () => {
  const { maps } = parseConfig({ maps: { "/default": { election } } });
  assert.deepEqual(maps["/default"]?.election, {
    ...election,
    replicas: 3,
    leaseMs: 5000,
    uncleanElection: false,
  });
});

test.each<[group: object, why: RegExp]>([
  [
    { election: { engine: "jetstream" } },
    /maps\["\/default"\]\.election\.url: is missing: must be an http or https URL/,
  ],
  [{ election: { ...election, url: "a:1" } }, /election\.url "a:1": must be/],
  [{ election: { ...election, leaseMs: 50 } }, /election\.leaseMs 50: must be at least 100/],
  [{ election: { ...election, replicas: 0 } }, /election\.replicas 0: must be above 0/],
  [{ election: { ...election, replica: 2 } }, /election\.replica: is not known, did you mean "replicas"/],
  [
    { election, primary: "http://b" },
    /\["\/default"\]\.primary "http:\/\/b": must be left out beside "election"/,
  ],
  [{ election, backups: ["http://b"] }, /\["\/default"\]\.backups: must be left out beside "election"/],
  [{ election, term: 2 }, /\["\/default"\]\.term 2: must be left out beside "election"/],
])("%j is refused with the field, its value and what would be right", (group, why) => {
  const problems = problemsOf(group);
  assert.equal(problems.length, 1, problems.join("; "));
  assert.match(problems[0] ?? "", why);
});

test("the engine must be the one that the server was given for elections", () => {
  assert.deepEqual(problemsOf({ election }, ["jetstream"]), []);
  assert.match(
    problemsOf({ election }, ["other"])[0] ?? "",
    /election\.engine "jetstream": must be "other", the engine that this server was given for elections/,
  );
  assert.throws(
    () => createServer({ engine: memoryEngine(), config: { maps: { "/default": { election } } } }),
    /election\.engine "jetstream": this server was given no engine for elections: fairlead serve --election/,
  );
});
