import assert from "node:assert/strict";
import { afterAll, beforeAll, describe, test } from "vitest";
import { patternBytes } from "../../src/conformance/test-data.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import { EngineFault, type KeyStore, type LogStore } from "../../src/server/engine.js";
import { type Answer, giveAnswers, type Refusal } from "../support/jetstream-answers.js";
import { openStores, type Stores } from "../support/jetstream-stores.js";
import { hasNatsServer, type NatsCluster, startNats } from "../support/nats-cluster.js";

const suite = hasNatsServer("the outcomes of writes in the JetStream engine") ? describe : describe.skip;

/** What a former leader says of a write: that another one is in process, or that it has not seen the last one. */
const formerLeader: Record<string, Refusal> = {
  "another write in process": { code: 400, err_code: 10_164, description: "wrong last sequence" },
  "an older sequence": { code: 400, err_code: 10_071, description: "wrong last sequence: 0" },
};

const noRoom: Refusal = { code: 503, err_code: 10_023, description: "insufficient resources" };

/** The values of appends of one message and of several. */
const appends: Record<string, Uint8Array[]> = {
  "one message": [utf8("b"), utf8("c")],
  "several messages": [patternBytes(600_000, 1), patternBytes(600_000, 2)],
};

/** The keys of commits of one message and of several. */
const commits: Record<string, string[]> = { "one key": ["k"], "several keys": ["k", "l", "m"] };

/** Appends `values` behind a first record and before a last one. Fails unless each is there once. */
async function appendOnce(
  logs: LogStore,
  values: readonly Uint8Array[],
  prepare: () => unknown,
): Promise<void> {
  await logs.append("l", [utf8("a")]);
  await prepare();
  assert.deepEqual(await logs.append("l", values), { first: 2n, last: BigInt(values.length + 1) });
  // What is late comes before the next one.
  await sleep(200);
  await logs.append("l", [utf8("z")]);
  const stored: Uint8Array[] = [];
  const options = { follow: false, signal: new AbortController().signal };
  for await (const records of logs.read("l", 1n, options)) stored.push(...records.map(({ value }) => value));
  assert.deepEqual(stored, [utf8("a"), ...values, utf8("z")]);
}

/** Sets `names` over their versions. Fails if that is a conflict, or if they do not have the new version. */
async function commitOnce(keys: KeyStore, names: readonly string[], prepare: () => unknown): Promise<void> {
  const write = async (value: string, ifVersion: bigint) => {
    const commit = await keys.commit(
      names.map((key) => ({ type: "set", key, value: utf8(value), ifVersion }) as const),
    );
    assert.ok("version" in commit, "a conflict with itself");
    return commit.version;
  };
  const first = await write("1", 0n);
  await prepare();
  const second = await write("2", first);
  await sleep(200);
  for (const entry of await keys.getMany(names)) {
    assert.deepEqual(entry && [fromUtf8(entry.value), entry.version], ["2", second]);
  }
}

suite("a write to a cluster of three nodes", () => {
  let nats: NatsCluster;
  let stores: Stores;

  beforeAll(async () => {
    nats = await startNats();
  }, 60_000);

  afterAll(async () => {
    await nats?.[Symbol.asyncDispose]();
  });

  const prepare = (part: "k" | "l", answer: Answer) => () =>
    giveAnswers(stores, `${stores.session.name}.${part}.`, [answer]);

  for (const [state, refusal] of Object.entries(formerLeader)) {
    for (const arrives of ["before", "after"] as const) {
      const what = `that a former leader refuses for ${state}, ${arrives === "before" ? "after" : "before"} the leader gets it`;

      for (const [count, values] of Object.entries(appends)) {
        test(`append() of ${count} ${what}, stores it once`, async () => {
          await using opened = await openStores({ servers: nats.urls, replicas: 3 });
          stores = opened;
          await appendOnce(stores.logs, values, prepare("l", { refusal, arrives }));
        });
      }

      for (const [count, names] of Object.entries(commits)) {
        test(`commit() of ${count} ${what}, is no conflict`, async () => {
          await using opened = await openStores({ servers: nats.urls, replicas: 3 });
          stores = opened;
          await commitOnce(stores.keys, names, prepare("k", { refusal, arrives }));
        });
      }
    }
  }
});

suite("a write to one node", () => {
  let nats: NatsCluster;

  beforeAll(async () => {
    nats = await startNats({ nodes: 1 });
  }, 60_000);

  afterAll(async () => {
    await nats?.[Symbol.asyncDispose]();
  });

  for (const [count, values] of Object.entries(appends)) {
    test(`append() of ${count}, whose acknowledgement is lost and whose id is forgotten, stores it once`, async () => {
      await using stores = await openStores({ servers: nats.urls });
      const { session, logs } = stores;
      await appendOnce(logs, values, async () => {
        const stream = `${session.name}-logs`;
        const { config } = await session.api<{ config: object }>(`STREAM.INFO.${stream}`);
        await session.api(`STREAM.UPDATE.${stream}`, { ...config, duplicate_window: 100 * 1_000_000 });
        giveAnswers(stores, `${session.name}.l.`, ["lost"]);
      });
    });
  }

  test("append() whose acknowledgement is lost, and that is refused for want of room then, stores it once", async () => {
    await using stores = await openStores({ servers: nats.urls });
    const { session, logs } = stores;
    await appendOnce(logs, [utf8("b")], () =>
      giveAnswers(stores, `${session.name}.l.`, ["lost", { refusal: noRoom }]),
    );
  });

  test("append() whose acknowledgement is lost is unavailable, not full, if the cluster has no room to find out", async () => {
    await using stores = await openStores({ servers: nats.urls });
    const { session, logs } = stores;
    giveAnswers(stores, `${session.name}.l.`, ["lost", { refusal: noRoom }, { refusal: noRoom }]);
    await assert.rejects(logs.append("l", [utf8("a")]), (error: unknown) => {
      assert.ok(error instanceof EngineFault);
      assert.equal(error.reason, "unavailable");
      return true;
    });
    assert.deepEqual(await logs.bounds("l"), { first: 1n, next: 2n });
  });

  for (const [fate, isStored] of [
    ["lost", true],
    ["gone", false],
  ] as const) {
    test(`publish() until a time ends its attempts then, and knows whether it was stored: one that is ${fate}`, async () => {
      await using stores = await openStores({ servers: nats.urls });
      const { session } = stores;
      const message = { subject: `${session.name}.k.x`, data: utf8("x"), headers: [] };
      const left = giveAnswers(stores, message.subject, [fate, "gone", "gone", "gone", "gone"]);
      const startMs = performance.now();
      const publish = session.publish(message, { fence: `${session.name}.i.f`, untilMs: startMs + 800 });
      if (isStored) assert.equal((await publish).sequence, 1);
      else await assert.rejects(publish, { name: "ConditionError" });
      assert.ok(performance.now() - startMs < 3000);
      assert.equal(left(), 3);
    });
  }
});
