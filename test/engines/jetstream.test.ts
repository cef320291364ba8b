import { afterAll, beforeAll, describe, test } from "vitest";
import { engineConformance } from "../../src/conformance/engine.js";
import { JetStreamEngines } from "../support/jetstream-engines.js";
import { hasNatsServer, type NatsCluster, startNats } from "../support/nats-cluster.js";

const suite = hasNatsServer("the tests of the JetStream engine") ? describe : describe.skip;

for (const nodes of [1, 3] as const) {
  suite(`as every engine, on ${nodes === 1 ? "one node" : "a cluster of three nodes"}`, () => {
    let nats: NatsCluster;
    let engines: JetStreamEngines;

    beforeAll(async () => {
      nats = await startNats({ nodes });
      engines = new JetStreamEngines(nats.urls, nodes);
    }, 60_000);

    afterAll(async () => {
      await engines?.[Symbol.asyncDispose]();
      await nats?.[Symbol.asyncDispose]();
    });

    // A quorum takes its time, more so on a busy machine.
    engineConformance(test, () => engines.open(), { shortMs: 500 });
  });
}
