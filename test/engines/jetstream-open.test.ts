import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, test } from "vitest";
import {
  ClusterError,
  type JetStreamEngineOptions,
  openJetStreamEngine,
} from "../../src/server/jetstream.js";
import { hasNatsServer, type NatsCluster, startNats } from "../support/nats-cluster.js";

const suite = hasNatsServer("opening a JetStream engine") ? describe : describe.skip;

/** A server that greets as a nats-server of this kind, and answers the client's first ping. */
async function greet(info: Record<string, unknown>): Promise<Server & { url: string }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      if (chunk.includes("PING")) socket.write("PONG\r\n");
    });
    const all = {
      server_id: "old",
      server_name: "old",
      headers: true,
      max_payload: 1 << 20,
      proto: 1,
      ...info,
    };
    socket.write(`INFO ${JSON.stringify({ host: "127.0.0.1", port: 4222, ...all })}\r\n`);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(server, { url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

describe("openJetStreamEngine()", () => {
  test("refuses a nats-server before 2.12, and one without JetStream, and says what would be right", async () => {
    for (const [info, message] of [
      [{ version: "2.9.10", jetstream: true }, /"old" .* has version 2\.9\.10, .* use 2\.12 or newer/],
      [{ version: "2.11.99", jetstream: true }, /version 2\.11\.99/],
      [{ version: "2.12.0" }, /has no JetStream: start it with -js/],
    ] as const) {
      const server = await greet(info);
      await assert.rejects(openJetStreamEngine({ servers: server.url }), expectError(message));
      server.close();
    }
  });

  test("refuses options that cannot be right", async () => {
    const servers = "nats://127.0.0.1:1";
    await assert.rejects(openJetStreamEngine({ servers: [] }), expectError(/servers is empty/));
    await assert.rejects(openJetStreamEngine({ servers, name: "a.b" }), expectError(/name is "a\.b"/));
    await assert.rejects(openJetStreamEngine({ servers, replicas: 2 }), expectError(/replicas is 2/));
    await assert.rejects(
      openJetStreamEngine({ servers, waitMs: 500 }),
      expectError(/Cannot connect to NATS at nats:\/\/127\.0\.0\.1:1: /),
    );
  });
});

suite("openJetStreamEngine() on a nats-server", () => {
  let nats: NatsCluster;
  let connection: NatsConnection;

  beforeAll(async () => {
    nats = await startNats({ nodes: 1 });
    connection = await connect({ servers: nats.urls });
  }, 60_000);

  afterAll(async () => {
    await connection?.close();
    await nats?.[Symbol.asyncDispose]();
  });

  const open = (options: Partial<JetStreamEngineOptions>) =>
    openJetStreamEngine({ servers: nats.urls, replicas: 1, ...options });

  async function api(method: string, body: object): Promise<Record<string, unknown>> {
    const response = (await connection.request(`$JS.API.${method}`, JSON.stringify(body))).json<{
      error?: unknown;
      config: Record<string, unknown>;
    }>();
    assert.equal(response.error, undefined);
    return response.config;
  }

  test("refuses more replicas than the cluster has servers, and says what to do", async () => {
    const refusal = expectError(/"r3-keys": .*; a stream with 3 replicas needs a cluster of 3 servers/);
    await assert.rejects(open({ name: "r3", replicas: 3 }), refusal);
  });

  test("refuses a stream that somebody else has created", async () => {
    await api("STREAM.CREATE.taken-keys", { name: "taken-keys", subjects: ["taken.k.>"] });
    await assert.rejects(
      open({ name: "taken" }),
      expectError(/"taken-keys" exists, and Fairlead has not created it/),
    );
  });

  test("refuses streams that promise less than asked, and says which setting", async () => {
    const engine = await open({ name: "weak" });
    await engine.close();
    const config = await api("STREAM.INFO.weak-keys", {});
    for (const [setting, value] of [
      ["duplicate_window", 1_000_000_000],
      ["discard", "old"],
      ["allow_direct", false],
    ] as const) {
      await api("STREAM.UPDATE.weak-keys", { ...config, [setting]: value });
      await assert.rejects(
        open({ name: "weak" }),
        expectError(new RegExp(`"weak-keys" has ${setting} ${JSON.stringify(value)}, it must be `)),
      );
    }
    await api("STREAM.UPDATE.weak-keys", config);
    await (await open({ name: "weak" })).close();
  });

  test("keeps what is stored when it is opened again, with another bound", async () => {
    const first = await open({ name: "again" });
    await first.keys.commit([{ type: "set", key: "k", value: new Uint8Array([1]) }]);
    await first.close();
    const second = await open({ name: "again", maxKeyBytes: 1_000_000 });
    assert.deepEqual((await second.keys.get("k"))?.value, new Uint8Array([1]));
    await second.close();
    assert.equal((await api("STREAM.INFO.again-keys", {}))["max_bytes"], 1_000_000 + 1024 ** 2);
  });

  test("of several servers at once creates the streams once", async () => {
    const engines = await Promise.all(Array.from({ length: 4 }, () => open({ name: "race" })));
    await Promise.all(engines.map((engine) => engine.close()));
  });
});

const expectError = (message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof ClusterError, String(error));
  assert.match(error.message, message);
  return true;
};
