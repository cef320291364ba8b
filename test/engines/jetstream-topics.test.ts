import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, test } from "vitest";
import {
  acknowledgeNext,
  consumer,
  formatDelivery,
  numbers,
  publish,
} from "../../src/conformance/engine/topics/consumer.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { type Logger, silent } from "../../src/server/context.js";
import { type Delivery, type Engine, EngineFault, type TopicStore } from "../../src/server/engine.js";
import { type JetStreamEngineOptions, openJetStreamEngine } from "../../src/server/jetstream.js";
import { hasNatsServer, type NatsCluster, startNats } from "../support/nats-cluster.js";
import { until } from "../support/until.js";

const suite = hasNatsServer("the topics of the JetStream engine") ? describe : describe.skip;

/** Servers that share an engine, each with its own connection. */
class Servers implements AsyncDisposable {
  readonly name = `t${crypto.randomUUID()}`;
  readonly stream = `${this.name}-topics`;
  readonly warnings: object[] = [];
  readonly #nats: NatsCluster;
  readonly #bounds: Partial<JetStreamEngineOptions>;
  readonly #engines: Engine[] = [];

  constructor(nats: NatsCluster, bounds: Partial<JetStreamEngineOptions> = {}) {
    this.#nats = nats;
    this.#bounds = bounds;
  }

  /** The topics of a further server. `servers`: the nodes or proxies that it connects to. */
  async open(
    servers: readonly string[] = this.#nats.urls,
    bounds: Partial<JetStreamEngineOptions> = this.#bounds,
  ): Promise<TopicStore> {
    const warn = (facts: object, text: string) => this.warnings.push({ ...facts, text });
    const log: Logger = { ...silent, warn };
    const replicas = this.#nats.nodes.length;
    const options = { servers, replicas, log, ...bounds, name: this.name };
    const engine = await openJetStreamEngine(options);
    this.#engines.push(engine);
    return engine.topics;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#engines.map((engine) => engine.close()));
  }
}

/** Handles events until `signal` aborts. */
async function handle(
  topics: TopicStore,
  signal: AbortSignal,
  onEvent: (text: string, delivery: Delivery) => void,
): Promise<void> {
  for await (const delivery of topics.consume("t", "g", signal)) {
    onEvent(fromUtf8(delivery.value), delivery);
    await delivery.ack();
  }
}

/**
 * Publishes by `publisher` and consumes by `consumers`, one for each, while `disturb` runs, which ends when its argument
 * returns false. Fails if an event is lost, or comes again after its acknowledgement was confirmed.
 */
async function withTraffic(
  publisher: TopicStore,
  consumers: readonly TopicStore[],
  disturb: (isBusy: () => boolean) => Promise<void>,
): Promise<void> {
  await publisher.createGroup("t", "g");
  const stop = new AbortController();
  const published: string[] = [];
  const acknowledged = new Set<string>();
  const repeated: string[] = [];
  const consuming = consumers.map(async (topics) => {
    for await (const delivery of topics.consume("t", "g", stop.signal)) {
      const text = fromUtf8(delivery.value);
      if (acknowledged.has(text)) repeated.push(text);
      await delivery.ack();
      acknowledged.add(text);
    }
  });
  let isBusy = true;
  const disturbing = disturb(() => isBusy);
  const publishing = numbers(4).map(async (name) => {
    for (let i = 0; i < 100; i++) {
      const texts = [`${name}:${i}`, ...(i % 3 ? [] : [`${name}:${i}+`])];
      await publish(publisher, ...texts);
      published.push(...texts);
      await sleep(10);
    }
  });
  await Promise.all(publishing);
  isBusy = false;
  await disturbing;
  await until(async () => acknowledged.size >= published.length && !(await publisher.hasWaiting("t", "g")));
  stop.abort();
  await Promise.all(consuming);
  assert.deepEqual([...acknowledged].sort(), published.sort());
  assert.deepEqual(repeated, []);
}

for (const nodes of [1, 3] as const) {
  suite(`on ${nodes === 1 ? "one node" : "a cluster of three nodes"}`, () => {
    let nats: NatsCluster;
    let nc: NatsConnection;

    beforeAll(async () => {
      nats = await startNats({ nodes });
      nc = await connect({ servers: nats.urls });
    }, 60_000);

    afterAll(async () => {
      await nc?.close();
      await nats?.[Symbol.asyncDispose]();
    });

    const api = async (method: string, body?: object): Promise<Record<string, unknown>> => {
      const response = await nc.request(`$JS.API.${method}`, body && JSON.stringify(body), { timeout: 5000 });
      const result = response.json<Record<string, unknown>>();
      assert.equal(result["error"], undefined, JSON.stringify(result["error"]));
      return result;
    };

    const consumersOf = async ({ stream }: Servers): Promise<string[]> => {
      const { consumers } = (await api(`CONSUMER.NAMES.${stream}`, {})) as { consumers: string[] | null };
      // Without the one that is no group.
      return (consumers ?? []).filter((name) => name !== "interest");
    };

    /** The number of requests for events that wait at the cluster. There must be one group. */
    async function countRequests(servers: Servers): Promise<number> {
      const [name] = await consumersOf(servers);
      const { num_waiting: count } = await api(`CONSUMER.INFO.${servers.stream}.${name}`);
      return Number(count);
    }

    /** Changes how long the cluster waits for a sign of life of claimed events. */
    async function setAckWait(servers: Servers, ackWaitMs: number): Promise<void> {
      const [name] = await consumersOf(servers);
      const { config } = await api(`CONSUMER.INFO.${servers.stream}.${name}`);
      const changed = { ...(config as object), ack_wait: ackWaitMs * 1_000_000 };
      const { filter_subject: subject } = config as { filter_subject: string };
      const request = { stream_name: servers.stream, config: changed, action: "update" };
      await api(`CONSUMER.CREATE.${servers.stream}.${name}.${subject}`, request);
    }

    test("consumers of two servers get each event once, each in the order of publishing", async () => {
      await using servers = new Servers(nats);
      const both = [await servers.open(), await servers.open()] as const;
      const stop = new AbortController();
      const seen: string[][] = [];
      let attempts = 0;
      const handlers = [...both, ...both].map((topics, i) => {
        seen.push([]);
        return handle(topics, stop.signal, (text, { attempt }) => {
          seen[i]?.push(text);
          attempts += attempt;
        });
      });
      for (let i = 0; i < 400; i += 4)
        await publish(both[(i / 4) % 2] ?? both[0], ...numbers(400).slice(i, i + 4));
      await until(() => seen.flat().length >= 400);
      stop.abort();
      await Promise.all(handlers);
      assert.deepEqual(seen.flat().sort(), numbers(400).sort());
      assert.equal(attempts, 400);
      for (const texts of seen)
        assert.deepEqual(
          texts,
          texts
            .map(Number)
            .sort((a, b) => a - b)
            .map(String),
        );
    });

    test("waiting consumers of two servers get events in turn", async () => {
      await using servers = new Servers(nats);
      const both = [await servers.open(), await servers.open()] as const;
      const stop = new AbortController();
      await both[0].createGroup("t", "g");
      const seen: string[][] = [[], []];
      const handlers = both.map((topics, i) => handle(topics, stop.signal, (text) => seen[i]?.push(text)));
      // A consumer that begins later than the other gets no event that was published before.
      await until(async () => (await countRequests(servers)) === 2);
      for (const text of numbers(40)) await publish(both[0], text);
      await until(() => seen.flat().length === 40);
      stop.abort();
      await Promise.all(handlers);
      assert.deepEqual(seen.map(([first]) => first).sort(), ["0", "1"]);
    });

    test("a server claims only what its consumers have asked for", async () => {
      await using servers = new Servers(nats);
      const [a, b] = [await servers.open(), await servers.open()];
      const slow = consumer(a);
      await publish(a, ...numbers(5));
      assert.equal(formatDelivery(await slow.next()), "0#1");
      assert.deepEqual(await acknowledgeNext(consumer(b), 4), ["1#1", "2#1", "3#1", "4#1"]);
    });

    test("an event that nobody waits for any more counts no attempt", async () => {
      await using servers = new Servers(nats);
      const [a, b] = [await servers.open(), await servers.open()];
      await a.createGroup("t", "g");
      const stop = new AbortController();
      const leaves = [consumer(a, "g", stop.signal), consumer(a, "g", stop.signal)];
      const stays = consumer(a);
      for (const each of [...leaves, stays]) await each.quiet(5);
      stop.abort();
      await stays.quiet(50);
      await publish(b, "1", "2");
      assert.deepEqual(await acknowledgeNext(stays, 2), ["1#1", "2#1"]);
    });

    test("events of a consumer that ends come first to one that asks at the same moment", async () => {
      await using servers = new Servers(nats);
      const topics = await servers.open();
      for (const group of numbers(20)) {
        const stop = new AbortController();
        const leaves = consumer(topics, group, stop.signal);
        const stays = topics.consume("t", group, new AbortController().signal)[Symbol.asyncIterator]();
        await publish(topics, "1", "2", "3");
        await leaves.take(2);
        stop.abort();
        const { value: first } = await stays.next();
        assert.equal(formatDelivery(first as Delivery), "1#2");
      }
    });

    test("a created group gets what another server publishes at once", async () => {
      await using servers = new Servers(nats);
      const [a, b] = [await servers.open(), await servers.open()];
      for (const group of numbers(20)) {
        await a.createGroup("t", group);
        await publish(b, group);
        assert.equal(await b.hasWaiting("t", group), true, group);
        const [first] = await acknowledgeNext(consumer(b, group), 1);
        assert.equal(first, `${group}#1`);
        assert.equal(await a.hasWaiting("t", group), false, group);
      }
    });

    test("a retry waits for its delay and then goes to any server, also if its consumer has left", async () => {
      await using servers = new Servers(nats);
      const [a, b] = [await servers.open(), await servers.open()];
      const stop = new AbortController();
      const first = consumer(a, "g", stop.signal);
      const other = consumer(b);
      await other.quiet(50);
      await publish(a, "1");
      const [event] = await Promise.race([first.take(1), other.take(1)]);
      const retriedMs = performance.now();
      await event?.retry(300);
      stop.abort();
      assert.deepEqual(await acknowledgeNext(other, 1), ["1#2"]);
      const waitedMs = performance.now() - retriedMs;
      assert.ok(waitedMs >= 300 && waitedMs < 600, `it came after ${waitedMs} ms`);
    });

    // It waits for claims to run out.
    const onCluster = nodes === 3 ? test : () => {};

    onCluster(
      "a server that is lost returns its events, and one that is slow keeps them",
      async () => {
        await using servers = new Servers(nats);
        const [link] = await nats.openLinks();
        assert.ok(link);
        const lost = await servers.open([`nats://127.0.0.1:${link.port}`]);
        const [slow, other] = [await servers.open(), await servers.open()];
        await lost.createGroup("t", "g");
        const lostConsumer = consumer(lost);
        await publish(slow, "lost");
        await lostConsumer.next();
        const slowConsumer = consumer(slow);
        await publish(slow, "slow");
        const kept = await slowConsumer.next();
        await setAckWait(servers, 8000);
        link.refuse();
        const again = consumer(other);
        assert.deepEqual(await acknowledgeNext(again, 1), ["lost#2"]);
        // By now the claim of the slow one had run out as well, if it had not been extended.
        await again.quiet(3000);
        await kept.ack();
        assert.equal(await other.hasWaiting("t", "g"), false);
      },
      30_000,
    );

    test("a lost connection loses no event, and none that was acknowledged comes again", async () => {
      await using servers = new Servers(nats);
      const [link] = await nats.openLinks();
      assert.ok(link);
      const cut = await servers.open([`nats://127.0.0.1:${link.port}`]);
      const other = await servers.open();
      await withTraffic(cut, [cut, cut, other], async (isBusy) => {
        for (let i = 0; isBusy(); i++) {
          // Connecting again takes 200 to 400 ms.
          await sleep(450 + 50 * (i % 4));
          if (i % 2) link.reset();
          else link.cut();
        }
        await setAckWait(servers, 1000);
      });
    }, 60_000);

    onCluster(
      "elections lose no event, and none that was acknowledged comes again",
      async () => {
        await using servers = new Servers(nats);
        const both = [await servers.open(), await servers.open()] as const;
        await withTraffic(both[0], [both[0], both[1], both[1]], async (isBusy) => {
          const [name] = await consumersOf(servers);
          while (isBusy()) {
            await api(`CONSUMER.LEADER.STEPDOWN.${servers.stream}.${name}`);
            await sleep(300);
            await api(`STREAM.LEADER.STEPDOWN.${servers.stream}`);
            await sleep(300);
          }
        });
        await withTraffic(both[0], [both[0], both[1], both[1]], async () => {
          await sleep(300);
          const leader = await nats.leaderOf(servers.stream);
          await nats.kill(leader);
          await sleep(1000);
          await nats.restart(leader);
          await nats.ready();
        });
      },
      60_000,
    );

    onCluster(
      "a node that was down while a group began has all of its events",
      async () => {
        await using servers = new Servers(nats);
        const topics = await servers.open();
        const down = ((await nats.leaderOf(servers.stream)) + 1) % 3;
        await nats.kill(down);
        const groups = numbers(5);
        for (const group of groups) {
          await topics.createGroup("t", group);
          await publish(topics, group);
        }
        await nats.restart(down);
        await nats.ready();
        for (const name of await consumersOf(servers)) {
          await until(async () => {
            const body = JSON.stringify({ placement: { preferred: `n${down}` } });
            await nc
              .request(`$JS.API.CONSUMER.LEADER.STEPDOWN.${servers.stream}.${name}`, body)
              .catch(() => {});
            await sleep(100);
            const info = await nc
              .request(`$JS.API.CONSUMER.INFO.${servers.stream}.${name}`)
              .catch(() => undefined);
            return info?.json<{ cluster?: { leader?: string } }>().cluster?.leader === `n${down}`;
          });
        }
        for (const group of groups) {
          const expected = groups.slice(Number(group)).map((text) => `${text}#1`);
          assert.deepEqual(await acknowledgeNext(consumer(topics, group), expected.length), expected);
        }
      },
      60_000,
    );

    test("a group that somebody deletes at the cluster begins again, which is logged", async () => {
      await using servers = new Servers(nats);
      const topics = await servers.open();
      const events = consumer(topics);
      await publish(topics, "1");
      assert.deepEqual(await acknowledgeNext(events, 1), ["1#1"]);
      await events.quiet(20);
      const [name] = await consumersOf(servers);
      await api(`CONSUMER.DELETE.${servers.stream}.${name}`);
      await until(async () => (await consumersOf(servers)).length === 1);
      await until(() => servers.warnings.length > 0);
      assert.deepEqual(servers.warnings, [
        {
          topic: "t",
          group: "g",
          text: "a consumer group was deleted at the cluster and created again: it may lack events",
        },
      ]);
      await publish(topics, "2");
      assert.deepEqual(await acknowledgeNext(events, 1), ["2#1"]);
    });

    test("nothing is kept without a group, nor after the last group has handled it", async () => {
      await using servers = new Servers(nats);
      const topics = await servers.open();
      const stored = async () => {
        return ((await api(`STREAM.INFO.${servers.stream}`))["state"] as { messages: number }).messages;
      };
      await publish(topics, "1");
      await publish(topics, "2", "3");
      await until(async () => (await stored()) === 0);
      await publish(topics, "early");
      const events = consumer(topics);
      await publish(topics, "4");
      await publish(topics, "5", "6");
      await until(async () => (await stored()) === 3);
      await acknowledgeNext(events, 3);
      await until(async () => (await stored()) === 0);
    });

    test("a publish of more events than JetStream stores together is refused", async () => {
      await using servers = new Servers(nats);
      const topics = await servers.open();
      await assert.rejects(publish(topics, ...numbers(1001)), {
        name: "EngineFault",
        reason: "full",
        message: "a publish of 1001 events: JetStream stores at most 1000 together",
      });
      const events = consumer(topics);
      await publish(topics, ...numbers(1000));
      assert.deepEqual(await acknowledgeNext(events, 2), ["0#1", "1#1"]);
    });

    test("groups over a bound are refused, by any server", async () => {
      await using servers = new Servers(nats, { maxTopics: 2, maxGroups: 3 });
      const [a, b] = [await servers.open(), await servers.open()];
      for (const group of ["1", "2", "3"]) await a.createGroup("t", group);
      await assert.rejects(b.createGroup("t", "4"), (error: EngineFault) => {
        assert.equal(error.message, 'the topic has no room for consumer group "4"');
        assert.deepEqual(error.limit, { name: "maxGroups", most: 3 });
        return error instanceof EngineFault;
      });
      await b.createGroup("t", "3");
      await b.createGroup("u", "1");
      const refused = consumer(a, "1", new AbortController().signal, "v");
      await assert.rejects(refused.next(), (error: EngineFault) => {
        assert.deepEqual(error.limit, { name: "maxTopics", most: 2 });
        return error instanceof EngineFault;
      });
    });

    test("events over maxTopicBytes are refused until others are handled", async () => {
      await using servers = new Servers(nats, { maxTopicBytes: 100_000 });
      const topics = await servers.open();
      const events = consumer(topics);
      const fill = async () => {
        for (;;) await publish(topics, "x".repeat(10_000));
      };
      await assert.rejects(fill(), (error: EngineFault) => {
        assert.equal(error.reason, "full");
        assert.deepEqual(error.limit, { name: "maxTopicBytes", most: 100_000 });
        return true;
      });
      await acknowledgeNext(events, 5);
      await until(async () => {
        return publish(topics, "again").then(
          () => true,
          () => false,
        );
      });
    });

    test("a group without a consumer on any server is removed after its time", async () => {
      await using servers = new Servers(nats, { groupIdleMs: 300, groupBacklogIdleMs: 2000 });
      const [a, b] = [await servers.open(), await servers.open()];
      const used = consumer(b, "used");
      await a.createGroup("t", "idle");
      await a.createGroup("t", "backlog");
      await publish(a, "1");
      assert.deepEqual(await acknowledgeNext(consumer(a, "idle", AbortSignal.timeout(200)), 1), ["1#1"]);
      await until(async () => (await consumersOf(servers)).length === 2);
      assert.deepEqual(servers.warnings, []);
      assert.equal(await a.hasWaiting("t", "backlog"), true);
      await until(async () => (await consumersOf(servers)).length === 1);
      const text =
        "a consumer group without a consumer was forgotten, and the events that waited for it are dropped";
      await until(() => servers.warnings.length > 0);
      assert.deepEqual(servers.warnings, [{ topic: "t", group: "backlog", events: 1, text }]);
      assert.deepEqual(await acknowledgeNext(used, 1), ["1#1"]);
    });

    test("a consumer that joins while its group is removed gets all that is published after it", async () => {
      await using servers = new Servers(nats);
      const [link] = await nats.openLinks();
      assert.ok(link);
      // It removes groups, and takes long between its last look at a group and the removal.
      await servers.open([`nats://127.0.0.1:${link.port}`], { groupIdleMs: 100 });
      const topics = await servers.open();
      link.impair({ latencyMs: 100 });
      const joins = numbers(60).map(async (name) => {
        await topics.createGroup(name, name);
        await sleep(200 + Number(name) * 25);
        const events = consumer(topics, name, new AbortController().signal, name);
        await topics.publish(name, [utf8(name)]);
        assert.deepEqual(await acknowledgeNext(events, 1), [`${name}#1`]);
        await sleep(300);
        await topics.publish(name, [utf8("later")]);
        assert.deepEqual(await acknowledgeNext(events, 1), ["later#1"]);
      });
      await Promise.all(joins);
      assert.deepEqual(servers.warnings, []);
    });
  });
}

suite("on a cluster with a slow link between two nodes", () => {
  let nats: NatsCluster;

  beforeAll(async () => {
    nats = await startNats({ nodes: 3, proxied: true });
  }, 60_000);

  afterAll(() => nats?.[Symbol.asyncDispose]());

  /** Makes the link between two nodes slow, and returns the URL of the third one. */
  function slowDown(a: number, b: number): string {
    for (const link of nats.link(a, b)) link.impair({ latencyMs: 100 });
    return nats.urls[3 - a - b] ?? assert.fail();
  }

  const heal = () => {
    for (const [a, b] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const)
      for (const link of nats.link(a, b)) link.heal();
  };

  /** Calls `stepDown` until `leader` returns another node than `than`. */
  async function otherLeader(than: number, leader: () => Promise<number>, stepDown: () => Promise<unknown>) {
    for (;;) {
      const number = await leader();
      if (number !== than) return number;
      await stepDown();
      await sleep(100);
    }
  }

  test("hasWaiting() knows of an event that the consumer's leader does not have yet", async () => {
    await using servers = new Servers(nats);
    const topics = await servers.open();
    await topics.createGroup("t", "g");
    const nc = await connect({ servers: nats.urls });
    try {
      const { consumers } = (await nc.request(`$JS.API.CONSUMER.NAMES.${servers.stream}`, "{}")).json<{
        consumers: string[];
      }>();
      const at = `${servers.stream}.${consumers.find((name) => name !== "interest")}`;
      const streamLeader = await nats.leaderOf(servers.stream);
      const leader = async () => {
        const info = await nc.request(`$JS.API.CONSUMER.INFO.${at}`);
        const { cluster } = info.json<{ cluster?: { leader?: string } }>();
        return cluster?.leader ? Number(cluster.leader.slice(1)) : streamLeader;
      };
      const stepDown = () => nc.request(`$JS.API.CONSUMER.LEADER.STEPDOWN.${at}`).catch(() => {});
      const consumerLeader = await otherLeader(streamLeader, leader, stepDown);
      const third = await servers.open([slowDown(streamLeader, consumerLeader)]);
      await publish(third, "1");
      assert.equal(await third.hasWaiting("t", "g"), true);
    } finally {
      heal();
      await nc.close();
    }
  });
});

suite("on one node", () => {
  test("a topic takes a thousand groups, and no more", async () => {
    await using nats = await startNats({ nodes: 1 });
    await using servers = new Servers(nats);
    const topics = await servers.open();
    const groups = numbers(1000);
    for (let i = 0; i < 1000; i += 50) {
      await Promise.all(groups.slice(i, i + 50).map((group) => topics.createGroup("t", group)));
    }
    await assert.rejects(topics.createGroup("t", "1000"), {
      message: 'the topic has no room for consumer group "1000"',
    });
    await publish(topics, "1");
    assert.equal(await topics.hasWaiting("t", "999"), true);
  }, 60_000);
});
