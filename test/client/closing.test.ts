import assert from "node:assert/strict";
import { Code, type ConnectError } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { createClient, type Fairlead } from "../../src/index.js";
import { createNodeTransport, createTunnelTransport } from "../../src/node.js";
import { createWebTransport } from "../../src/web.js";
import { openInProcess, overHttp } from "../support/protocols.js";
import { until } from "../support/until.js";

const app = { appId: "shop" };
const WAYS = [
  { name: "HTTP/2", open: overHttp((url) => createNodeTransport(url)), duplex: true },
  {
    name: "HTTP/1.1",
    open: overHttp((url) => createNodeTransport(url, { httpVersion: "1.1" })),
    duplex: false,
  },
  { name: "the tunnel", open: overHttp((url) => createTunnelTransport(url, app)), duplex: true },
  { name: "fetch", open: overHttp((url) => createWebTransport(url)), duplex: false },
  { name: "in process", open: openInProcess, duplex: true },
];

const CLOSED = { code: Code.Canceled, rawMessage: "the client is closed" };

/** A call of every facade, and one of the generated clients. */
const CALLS: Record<string, (fl: Fairlead) => Promise<unknown>> = {
  state: (fl) => fl.state().get("k"),
  lock: (fl) => fl.lock().acquire("k"),
  sequencer: (fl) => fl.sequencer().next("k"),
  "sequencer.ids": (fl) => fl.sequencer().ids("k").next(),
  pubsub: (fl) => fl.pubsub().publish("t", "x"),
  "pubsub.subscribe": (fl) => fl.pubsub().subscribe("t").next(),
  files: (fl) => fl.files().get("f"),
  "files.put": (fl) => fl.files().put("f", "x"),
  "files.list": (fl) => Promise.resolve(fl.files().list().next()),
  map: (fl) => fl.map("m").get("k"),
  "gossip map": (fl) => fl.openGossipMap("m"),
  "log.append": (fl) => fl.log().append("x"),
  "log.read": (fl) => fl.log().read().next(),
  configuration: (fl) => fl.configuration().get(),
  "configuration.open": (fl) => fl.configuration().open({ fallback: { a: "b" } }),
  secrets: (fl) => fl.secrets().get("s"),
  bindings: (fl) => fl.bindings.invoke("b", "create"),
  service: (fl) => fl.service("x").fetch("/"),
  hello: (fl) => fl.hello().say("x"),
  lifecycle: (fl) => fl.lifecycle.apply("hello", "n", {}),
  raw: (fl) => fl.raw.runtime.sayHello({}),
};

describe.each(WAYS)("a client over $name", ({ open, duplex }) => {
  test.each([true, false])(
    "after close() every call fails alike; closing the transport as well: %s",
    async (closeTransport) => {
      await using at = await open();
      const fl = createClient(at.transport, { closeTransport });
      await fl.hello().say("x");
      await fl.close();
      for (const [name, call] of Object.entries(CALLS)) {
        const error = await call(fl).then(
          () => assert.fail(`${name} passed`),
          (error: ConnectError) => error,
        );
        assert.deepEqual({ name, code: error.code, rawMessage: error.rawMessage }, { name, ...CLOSED });
      }
      await fl.close();
    },
  );

  test("calls fail as soon as close() is called", async () => {
    await using at = await open();
    const fl = createClient(at.transport, { closeTransport: false });
    const closing = fl.close();
    await assert.rejects(fl.state().get("k"), CLOSED);
    await closing;
  });

  test("close() ends open loops as if they were left, and closes what they follow", async () => {
    await using at = await open();
    const fl = createClient(at.transport, { closeTransport: false });
    const configuration = await fl.configuration().open({ fallback: { a: "b" } });
    const records = fl.log().read();
    const held = await fl.lock().acquire("k");
    const map = duplex ? await fl.openGossipMap("m") : undefined;
    const messages = duplex ? fl.pubsub().subscribe("t") : undefined;
    map?.set("written", "last");
    const loops = [
      records.next(),
      configuration.changes()[Symbol.asyncIterator]().next(),
      map?.changes()[Symbol.asyncIterator]().next(),
      messages?.next(),
    ];
    await until(() =>
      [records, messages].every((each) => each === undefined || each.status.current === "connected"),
    );
    await fl.close();
    for (const loop of loops) if (loop) assert.deepEqual(await loop, { value: undefined, done: true });
    for (const each of [configuration, records, map, messages]) {
      if (each) assert.deepEqual([each.status.current, each.status.error], ["closed", undefined]);
    }
    assert.equal(configuration.current["a"], "b");
    assert.ok(held.signal.aborted);
    assert.equal(held.ttlRemainingMs, 0);
    // Released and sent before the transport was closed.
    const other = createClient(at.server.transport());
    assert.ok(await other.lock().tryAcquire("k"));
    if (map) {
      await using copy = await other.openGossipMap("m");
      assert.equal(copy.get("written"), "last");
      assert.throws(() => map.set("k", "v"), /is closed/);
    }
  });

  test("pending calls fail as canceled", async () => {
    await using at = await open();
    const fl = createClient(at.transport, { closeTransport: false });
    const stream = fl.raw.log.consume({ offset: 0n })[Symbol.asyncIterator]().next();
    await until(
      async () =>
        String((await at.server.metrics(null)).body).match(/streams_open\{.*\} 1$/m) !== null ||
        at.url === "",
    );
    await fl.close();
    await assert.rejects(stream, CLOSED);
  });

  test("clients that share a transport end one by one", async () => {
    await using at = await open();
    const [one, two] = [createClient(at.transport, { closeTransport: false }), createClient(at.transport)];
    await one.close();
    await two.hello().say("x");
    await two.close();
  });
});

test("close() ends serving, and serving that has not started never does", async () => {
  await using at = await overHttp((url) => createTunnelTransport(url, app))();
  const fl = createClient(at.transport);
  const serving = await fl.service.serve(() => new Response("x"));
  await serving.ready;
  assert.equal(serving.status.current, "connected");
  await fl.close();
  assert.equal(serving.status.current, "closed");
  await assert.rejects(
    fl.service.serve(() => new Response("x")),
    { code: Code.Canceled },
  );
});

test("ready rejects if serving ends before the server calls it", async () => {
  const fl = createClient(createTunnelTransport("http://127.0.0.1:9", app));
  const serving = await fl.service.serve(() => new Response("x"));
  await serving.close();
  await assert.rejects(serving.ready, { code: Code.Canceled });
  await fl.close();
});
