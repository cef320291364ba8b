import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import { UsageError } from "../../src/cli/command-line.js";
import { misspelledVariables, parseSettings, variableOf } from "../../src/cli/environment.js";
import { optionRows, SERVE_OPTIONS } from "../../src/cli/serve-options.js";

const parse = (args: string[], env: Record<string, string>) =>
  parseSettings(args, SERVE_OPTIONS, env, ["jetstream", "data", "memory"]);

test("each option of serve has its variable, and the command line wins over it", () => {
  for (const [name, { type }] of Object.entries(SERVE_OPTIONS)) {
    const text = type === "boolean" ? "true" : "x";
    const { options } = parse([], { [variableOf(name)]: text });
    assert.equal(options[name as keyof typeof options], type === "boolean" ? true : "x", name);
  }
  const env = { FAIRLEAD_PORT: "1", FAIRLEAD_TLS_KEY: "key.pem", FAIRLEAD_GRACE: "" };
  const { options, nameOf, isGiven } = parse(["--port", "2"], env);
  assert.deepEqual([options.port, options["tls-key"], options.grace], ["2", "key.pem", "5"]);
  assert.deepEqual([nameOf("port"), nameOf("tls-key")], ["--port", "FAIRLEAD_TLS_KEY"]);
  assert.deepEqual([isGiven("port"), isGiven("tls-key"), isGiven("grace")], [true, true, false]);
});

test("a switch is true, 1, false or 0, and its error names the variable", () => {
  for (const [text, value] of [
    ["true", true],
    ["1", true],
    ["false", false],
    ["0", false],
    ["", false],
  ] as const) {
    assert.equal(parse([], { FAIRLEAD_INSECURE: text }).options.insecure, value, text);
  }
  assert.throws(
    () => parse([], { FAIRLEAD_INSECURE: "yes" }),
    new UsageError('FAIRLEAD_INSECURE must be true or false, got "yes"'),
  );
});

test("of options that exclude each other, one on the command line replaces those of the environment", () => {
  const env = { FAIRLEAD_DATA: "/data", FAIRLEAD_JETSTREAM: "nats://a" };
  const { options } = parse(["--memory"], env);
  assert.deepEqual([options.memory, options.data, options.jetstream], [true, undefined, undefined]);
  assert.equal(parse([], env).options.data, "/data");
});

test("a variable that Kubernetes sets for a Service named fairlead is not taken for a port", () => {
  assert.throws(
    () => parse([], { FAIRLEAD_PORT: "tcp://10.0.0.7:34904" }),
    /^Error: FAIRLEAD_PORT is "tcp:\/\/10\.0\.0\.7:34904": Kubernetes sets it .* enableServiceLinks: false/,
  );
});

test("a variable that is spelled almost like one that sets an option is reported", () => {
  const env = {
    FAIRLEAD_JETSTREM: "x",
    FAIRLEAD_PORT: "1",
    FAIRLEAD_SECRET_DB: "x",
    FAIRLEAD_PORT_34904_TCP: "x",
  };
  assert.deepEqual(misspelledVariables(SERVE_OPTIONS, env), [
    "the environment variable FAIRLEAD_JETSTREM sets nothing: did you mean FAIRLEAD_JETSTREAM?",
  ]);
});

test("docs/command-line.md has each option of serve with its variable and its description", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/command-line.md"), "utf8");
  const rows = [...page.matchAll(/^\| `(--[^`]+)` +\| `(FAIRLEAD_\w+)` +\| (.+?) +\|$/gm)];
  assert.deepEqual(
    rows.map(([, option, variable, description]) => [option, variable, description]),
    optionRows(SERVE_OPTIONS).map(([option, description], i) => [
      option,
      variableOf(Object.keys(SERVE_OPTIONS)[i] ?? ""),
      description.replace(/--[\w-]+|http:\S+/g, "`$&`"),
    ]),
  );
});
