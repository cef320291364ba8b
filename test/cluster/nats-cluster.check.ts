import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { describe, test } from "vitest";
import { bundleProgram } from "../support/bundle.js";
import { canMount } from "../support/nats-cluster/node.js";
import { hasNatsServer, INSTALL_COMMAND, type NatsCluster, startNats } from "../support/nats-cluster.js";
import { until } from "../support/until.js";

const suite = hasNatsServer("the tests on a NATS cluster") ? describe : describe.skip;

/** A connection to one of `urls`, and the stream "s" on `replicas` nodes. */
async function openStream(urls: readonly string[], replicas: number): Promise<NatsConnection> {
  const connection = await connect({ servers: [...urls], maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: "s", subjects: ["s.>"], num_replicas: replicas });
  return connection;
}

/** Publishes until it is acknowledged. */
async function publish(connection: NatsConnection, msgID: string): Promise<number> {
  for (;;) {
    const ack = await jetstream(connection)
      .publish("s.x", "", { msgID, timeout: 1000 })
      .catch(() => undefined);
    if (ack) return ack.seq;
  }
}

test(".ci/run installs the nats-server that the tests expect", () => {
  assert.ok(readFileSync(join(import.meta.dirname, "../../.ci/run"), "utf8").includes(INSTALL_COMMAND));
});

suite("one node", () => {
  test("keeps its data over SIGKILL and restart", async () => {
    await using nats = await startNats({ nodes: 1 });
    const connection = await openStream(nats.urls, 1);
    assert.equal(await publish(connection, "a"), 1);
    await nats.kill(0);
    await nats.restart(0);
    await nats.ready();
    assert.equal(await nats.leaderOf("s"), 0);
    assert.equal(await publish(connection, "b"), 2);
    await connection.close();
  });
});

suite("three nodes", () => {
  test("elect another leader when the leader of a stream is paused or cut off", async () => {
    await using nats = await startNats({ proxied: true });
    await (await openStream(nats.urls, 3)).close();
    let expected = 0;
    for (const fault of [paused, cutOff]) {
      const leader = await nats.leaderOf("s");
      const heal = await fault(nats, leader);
      await until(async () => (await nats.leaderOf("s")) !== leader);
      const connection = await connect({ servers: nats.urls.filter((_, node) => node !== leader) });
      assert.equal(await publish(connection, String(++expected)), expected);
      await connection.close();
      await heal();
      await nats.ready();
    }
  });

  test("a node with a full disk leaves the others at work", async (context) => {
    if (!canMount())
      return context.skip("a full disk needs the right to mount a tmpfs: run the test as root");
    await using nats = await startNats({ diskBytes: 64 << 20 });
    const connection = await openStream(nats.urls, 3);
    await nats.node(0).fillDisk();
    for (let i = 1; i <= 20; i++) assert.equal(await publish(connection, String(i)), i);
    await nats.node(0).freeDisk();
    await nats.kill(0);
    await nats.restart(0);
    await nats.ready();
    await connection.close();
  });
});

suite("nodes", () => {
  test("end with the process that started them, also if it is killed", async () => {
    const child = fork(await bundleProgram(join(import.meta.dirname, "orphan.ts")));
    const [{ url, folder }] = (await once(child, "message")) as [{ url: string; folder: string }];
    await (await connect({ servers: url })).close();
    child.kill("SIGKILL");
    await until(async () => !existsSync(folder));
    await assert.rejects(connect({ servers: url, reconnect: false }), /ECONNREFUSED|refused/);
  });
});

async function paused(nats: NatsCluster, node: number) {
  nats.pause(node);
  return async () => nats.resume(node);
}

async function cutOff(nats: NatsCluster, node: number) {
  const links = [0, 1, 2].flatMap((other) => (other === node ? [] : nats.link(node, other)));
  for (const link of links) link.impair({ bytesPerSecond: 0 });
  return async () => {
    for (const link of links) link.heal();
  };
}
