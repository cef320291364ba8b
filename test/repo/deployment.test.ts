import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import { variableOf } from "../../src/cli/environment.js";
import { SERVE_OPTIONS } from "../../src/cli/serve-options.js";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

const FILES = [
  "Dockerfile",
  "examples/cluster/compose.yaml",
  "examples/cluster/kubernetes/fairlead.yaml",
  "examples/cluster/cluster.js",
  "docs/deploy.md",
];

test.each(FILES)("%s sets only variables that the server reads", (file) => {
  const known = Object.keys(SERVE_OPTIONS).map(variableOf);
  // An account of NATS and its password in docs/deploy.md.
  const used = [...read(file).matchAll(/\bFAIRLEAD_(?!PASSWORD)[A-Z_]+\b/g)].map(([name]) => name);
  assert.ok(used.length > 0);
  assert.deepEqual(
    used.filter((name) => !known.includes(name)),
    [],
  );
});

/** The first number behind `name` in a file. */
function numberIn(text: string, name: string): number {
  const [, digits] = new RegExp(`\\b${name}\\b(?:, value)?:\\s*"?(\\d+)`).exec(text) ?? [];
  assert.ok(digits, name);
  return Number(digits);
}

test("Kubernetes and Compose wait for the drain and the grace, and the drain until probes have failed", () => {
  const pod = read("examples/cluster/kubernetes/fairlead.yaml");
  const [drain, grace] = [numberIn(pod, "FAIRLEAD_DRAIN"), numberIn(pod, "FAIRLEAD_GRACE")];
  assert.ok(numberIn(pod, "terminationGracePeriodSeconds") > drain + grace);
  const probe = pod.slice(pod.indexOf("readinessProbe:"));
  assert.ok(drain > numberIn(probe, "periodSeconds") * numberIn(probe, "failureThreshold"));

  const compose = read("examples/cluster/compose.yaml");
  const server = compose.slice(compose.indexOf("x-fairlead:"));
  const drainMost = numberIn(server, "FAIRLEAD_DRAIN");
  assert.ok(numberIn(server, "stop_grace_period") > drainMost + numberIn(server, "FAIRLEAD_GRACE"));
  const balancer = read("examples/cluster/haproxy.cfg");
  const [, inter, fast, fall] = /check inter (\d+)s fastinter (\d+)s fall (\d+)/.exec(balancer) ?? [];
  const noticedAfter = Number(inter) + Number(fast) * (Number(fall) - 1);
  assert.ok(drainMost > noticedAfter, `${noticedAfter} s`);
  assert.ok(numberIn(read("examples/cluster/cluster.js"), "FAIRLEAD_DRAIN") > noticedAfter);
});

test("docs/deploy.md quotes messages that the server logs", () => {
  const quoted = [...read("docs/deploy.md").matchAll(/^\| log: `([^`]+)`/gm)].map(([, text = ""]) => text);
  const source = read("src/server/engines/jetstream/connection.ts");
  assert.ok(quoted.length > 0);
  for (const text of quoted) assert.ok(source.includes(text), text);
});
