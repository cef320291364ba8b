import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, headers } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, test } from "vitest";
import { patternBytes } from "../../src/conformance/test-data.js";
import { silent } from "../../src/server/context.js";
import { PeerFault, type PeerMessaging } from "../../src/server/engine.js";
import { ClusterClock } from "../../src/server/engines/jetstream/cluster-clock.js";
import { JetStreamPeers } from "../../src/server/engines/jetstream/peers.js";
import { JetStreamSession } from "../../src/server/engines/jetstream/session.js";
import { hasNatsServer, type NatsCluster, startNats } from "../support/nats-cluster.js";
import { type OpenPeers, peerCases } from "../support/peer-cases.js";
import { until } from "../support/until.js";

const suite = hasNatsServer("the messages between servers on NATS") ? describe : describe.skip;

const never = new AbortController().signal;

/** Three peers of a group of their own, each connected to one of `urls`. */
async function openPeers(urls: readonly string[], name: string): Promise<OpenPeers> {
  const closers = new Map<PeerMessaging, () => Promise<void>>();
  for (let i = 0; i < 3; i++) {
    const servers = urls[i % urls.length] ?? assert.fail();
    const nc = await connect({ servers, ignoreClusterUpdates: true, maxReconnectAttempts: -1 });
    const options = { nc, name, clock: new ClusterClock(), waitMs: 1000, log: silent };
    const session = new JetStreamSession(options, headers);
    const peers = new JetStreamPeers(session);
    closers.set(peers, async () => {
      session.close();
      await peers.close();
      await nc.close();
    });
  }
  return {
    peers: [...closers.keys()],
    close: async (peer) => closers.get(peer)?.(),
    [Symbol.asyncDispose]: async () => {
      for (const close of closers.values()) await close();
    },
  };
}

for (const nodes of [1, 3] as const) {
  suite(`on ${nodes === 1 ? "one node" : "a cluster of three nodes"}`, () => {
    let nats: NatsCluster;
    let groups = 0;

    beforeAll(async () => {
      nats = await startNats({ nodes });
    }, 60_000);

    afterAll(() => nats?.[Symbol.asyncDispose]());

    const open = () => openPeers(nats.urls, `group-${++groups}`);

    peerCases(open);

    test("large bodies arrive, also if they are more than may arrive at the same time", async () => {
      await using group = await open();
      const [a, b] = group.peers;
      await b?.serve("echo", async (body) => body);
      const bodies = Array.from({ length: 12 }, (_, i) => patternBytes(8 * 1024 ** 2, i));
      const answers = await Promise.all(bodies.map((body) => a?.request("echo", body, never)));
      for (const [i, answer] of answers.entries())
        assert.ok(answer && Buffer.compare(answer, bodies[i] ?? answer) === 0);
    });

    test("a requester that goes in the midst of a large body leaves nothing behind", async () => {
      await using group = await open();
      const [a, b, c] = group.peers;
      let handled = 0;
      await b?.serve("count", async (body) => {
        handled++;
        return body.subarray(0, 1);
      });
      const leave = new AbortController();
      const large = Array.from({ length: 10 }, () =>
        a?.request("count", new Uint8Array(30_000_000), leave.signal),
      );
      await sleep(20);
      leave.abort(new Error("gone"));
      assert.ok((await Promise.allSettled(large)).some(({ status }) => status === "rejected"));
      const before = handled;
      await c?.request("count", new Uint8Array(30_000_000), never);
      assert.equal(handled, before + 1);
    });

    test("after the node was restarted, names are still served", async () => {
      await using group = await open();
      const [a, b] = group.peers;
      await b?.serve("echo", async (body) => body);
      for (const number of nodes === 1 ? [0] : [0, 1]) {
        await nats.kill(number);
        await nats.restart(number);
      }
      await nats.ready();
      await until(async () => {
        const answer = await a
          ?.request("echo", new Uint8Array(1), AbortSignal.timeout(1000))
          .catch(() => undefined);
        return answer?.length === 1;
      });
      assert.deepEqual(await a?.request("echo", patternBytes(1_000_000), never), patternBytes(1_000_000));
    });
  });
}

suite("a server that is stopped", () => {
  test("its requests are lost after some seconds", async () => {
    await using nats = await startNats({ nodes: 1 });
    await using group = await openPeers(nats.urls, "stopped");
    const [a, b] = group.peers;
    await b?.serve("slow", () => new Promise(() => {}));
    const request = a?.request("slow", new Uint8Array(1), never) ?? assert.fail();
    const outcome = request.catch((error: unknown) => error);
    await sleep(7000);
    const early = await Promise.race([outcome, sleep(10, "still waiting")]);
    assert.equal(early, "still waiting", "a server that works is not lost");
    await nats.kill(0);
    const error = await outcome;
    assert.ok(error instanceof PeerFault && error.reason === "lost", String(error));
  });
});
