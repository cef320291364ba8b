import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { openServer, startSnippet } from "../support/snippet-process.js";
import { expectedOutput, publicDeclarations, sourceExamples } from "../support/snippets.js";

/** Functions that a user begins with and that are not called createX or openX. */
const OTHERS = [
  "conformance",
  "engineConformance",
  "inProcess",
  "listen",
  "memoryEngine",
  "otelClient",
  "otelServer",
  "overWebSocket",
  "serveCallbacks",
  "shareTunnels",
  "withRetry",
  "withSchema",
  "withToken",
];

const isFactory = (name: string) => /^(create|open)[A-Z]/.test(name) || OTHERS.includes(name);

test("every createX and openX of the package's entry points has one @example", () => {
  const factories = publicDeclarations().filter(({ name }) => isFactory(name));
  const count = ({ file, name }: { file: string; name: string }) =>
    sourceExamples.filter((example) => example.file === file && example.name === name).length;
  const wrong = factories.filter((factory) => count(factory) !== 1);
  assert.deepEqual(
    wrong.map((factory) => `${factory.name} (${factory.file}): ${count(factory)}`),
    [],
  );
  for (const name of OTHERS)
    assert.ok(
      factories.some((factory) => factory.name === name),
      name,
    );
});

describe("each @example runs against a server, prints what its comments say, and ends", () => {
  for (const { file, name, code } of sourceExamples.filter(({ isRunnable }) => isRunnable)) {
    test.concurrent(`${name} (${file})`, async () => {
      await using server = await openServer();
      const { ended } = await startSnippet(server, `${file}-${name}`, code);
      assert.deepEqual(await ended, { status: 0, printed: expectedOutput(code) });
    });
  }
});
