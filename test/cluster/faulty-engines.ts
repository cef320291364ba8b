import { sleep } from "../../src/rpc/sleep.js";
import type {
  BlobStore,
  Change,
  Engine,
  KeyStore,
  LogStore,
  TopicStore,
  Write,
} from "../../src/server/engine.js";

/** An engine with one fault, and the check that must find it. */
interface FaultyEngine {
  /** Completes "an engine that". */
  fault: string;
  wrap(engine: Engine): Engine;
  /** The workload whose check finds it. */
  workload: string;
  message: RegExp;
}

/** Whether this is one of so many calls: the last. */
function oneIn(count: number): () => boolean {
  let calls = 0;
  return () => ++calls % count === 0;
}

type Ports = { keys: KeyStore; logs: LogStore; topics: TopicStore; blobs: BlobStore };

/** `engine` with some methods of one port replaced. The memory engine's ports are bound to it. */
function withPort<P extends keyof Ports>(engine: Engine, port: P, methods: Partial<Ports[P]>): Engine {
  const original = engine[port] as Ports[P];
  const wrapped = new Proxy(original, {
    get(target, name) {
      const replaced = (methods as Record<string | symbol, unknown>)[name];
      if (replaced) return replaced;
      const value = Reflect.get(target, name) as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { ...engine, [port]: wrapped };
}

const unconditional = (write: Write): Write[] =>
  write.type === "check" ? [] : [{ ...write, ifVersion: undefined } as unknown as Write];

const keyOf = (change: Change): string => (change.type === "set" ? change.entry.key : change.key);

const isOf = (writes: readonly Write[], part: string): boolean =>
  writes.some(({ key }) => key.includes(part));

/** Every kind of fault that the runs on a cluster look for. */
export const faultyEngines: readonly FaultyEngine[] = [
  {
    fault: "drops the conditions of writes",
    workload: "counter",
    message: /both incremented to/,
    wrap: (engine) => {
      const commit: KeyStore["commit"] = async (writes) => {
        if (!isOf(writes, "counter")) return engine.keys.commit(writes);
        // Long enough for another client to read the same value.
        await sleep(5);
        return engine.keys.commit(writes.flatMap(unconditional));
      };
      return withPort(engine, "keys", { commit });
    },
  },
  {
    fault: "acknowledges a commit that it does not make",
    workload: "registers",
    message: /are not linearizable/,
    wrap: (engine) => {
      const isFaulty = oneIn(8);
      const commit: KeyStore["commit"] = async (writes) =>
        isOf(writes, "register-") && isFaulty() ? { version: 1_000_000n } : engine.keys.commit(writes);
      return withPort(engine, "keys", { commit });
    },
  },
  {
    fault: "reads what a replica had a moment ago",
    workload: "registers",
    message: /are not linearizable/,
    wrap: (engine) => {
      const isFaulty = oneIn(6);
      const former = new Map<string, Awaited<ReturnType<KeyStore["get"]>>>();
      const get: KeyStore["get"] = async (key) => {
        const entry = await engine.keys.get(key);
        const isStale = former.has(key) && isFaulty();
        const stale = former.get(key);
        former.set(key, entry);
        return isStale ? stale : entry;
      };
      return withPort(engine, "keys", { get });
    },
  },
  {
    fault: "grants a lock that is held",
    workload: "locks",
    message: /held the lock at the same time|is not above it/,
    wrap: (engine) => {
      const isFaulty = oneIn(3);
      const get: KeyStore["get"] = async (key) =>
        key.startsWith("lock") && isFaulty() ? undefined : engine.keys.get(key);
      const commit: KeyStore["commit"] = (writes) =>
        engine.keys.commit(isOf(writes, "lock") ? writes.flatMap(unconditional) : writes);
      return withPort(engine, "keys", { get, commit });
    },
  },
  {
    fault: "gives an id twice",
    workload: "ids",
    message: /were both given/,
    wrap: (engine) => {
      const isFaulty = oneIn(5);
      const commit: KeyStore["commit"] = async (writes) =>
        isOf(writes, "seq") && isFaulty() ? { version: 1_000_000n } : engine.keys.commit(writes);
      return withPort(engine, "keys", { commit });
    },
  },
  {
    fault: "loses an event that it acknowledged",
    workload: "events",
    message: /published, and lost/,
    wrap: (engine) => {
      const isFaulty = oneIn(20);
      const publish: TopicStore["publish"] = async (topic, values) => {
        if (!isFaulty()) await engine.topics.publish(topic, values);
      };
      return withPort(engine, "topics", { publish });
    },
  },
  {
    fault: "stores an event twice",
    workload: "events",
    message: /again, by .* handled at/,
    wrap: (engine) => {
      const isFaulty = oneIn(20);
      const late: (readonly Uint8Array[])[] = [];
      const publish: TopicStore["publish"] = async (topic, values) => {
        await engine.topics.publish(topic, values);
        if (isFaulty()) late.push(values);
        if (late.length > 2) await engine.topics.publish(topic, late.shift() ?? []);
      };
      return withPort(engine, "topics", { publish });
    },
  },
  {
    fault: "delivers an event again that was acknowledged",
    workload: "events",
    message: /again, by .* handled at/,
    wrap: (engine) => {
      const isFaulty = oneIn(25);
      const consume: TopicStore["consume"] = async function* (topic, group, signal) {
        for await (const delivery of engine.topics.consume(topic, group, signal)) {
          const ack = isFaulty() ? () => delivery.retry(400) : () => delivery.ack();
          yield { ...delivery, value: delivery.value, attempt: delivery.attempt, ack };
        }
      };
      return withPort(engine, "topics", { consume });
    },
  },
  {
    fault: "loses a record that it acknowledged",
    workload: "records",
    message: /is lost|stands at|appended at/,
    wrap: (engine) => {
      const isFaulty = oneIn(20);
      const append: LogStore["append"] = async (log, values) => {
        if (!isFaulty()) return engine.logs.append(log, values);
        const { next } = await engine.logs.bounds(log);
        return { first: next, last: next + BigInt(values.length - 1) };
      };
      return withPort(engine, "logs", { append });
    },
  },
  {
    fault: "skips a record of a follower",
    workload: "records",
    message: /follower c\d got/,
    wrap: (engine) => {
      const isFaulty = oneIn(25);
      const read: LogStore["read"] = async function* (log, from, options) {
        for await (const records of engine.logs.read(log, from, options)) {
          const rest = options.follow && isFaulty() ? records.slice(1) : records;
          if (rest.length > 0) yield rest;
        }
      };
      return withPort(engine, "logs", { read });
    },
  },
  {
    fault: "stores a record twice",
    workload: "records",
    message: /stands at/,
    wrap: (engine) => {
      const isFaulty = oneIn(20);
      const append: LogStore["append"] = async (log, values) => {
        const offsets = await engine.logs.append(log, values);
        if (isFaulty()) await engine.logs.append(log, values);
        return offsets;
      };
      return withPort(engine, "logs", { append });
    },
  },
  {
    fault: "leaves a gap in a watch",
    workload: "watches",
    message: /a gap/,
    wrap: (engine) => withWatch(engine, (change, isFaulty) => (isFaulty() ? [] : [change])),
  },
  {
    fault: "repeats a change in a watch",
    workload: "watches",
    message: /twice/,
    wrap: (engine) => withWatch(engine, (change, isFaulty) => (isFaulty() ? [change, change] : [change])),
  },
  {
    fault: "stops to tell the watchers of a configuration",
    workload: "settings",
    message: /never got/,
    wrap: (engine) => {
      let count = 0;
      return withWatch(engine, (change) =>
        keyOf(change).startsWith("configuration") && ++count > 20 ? [] : [change],
      );
    },
  },
  {
    fault: "cuts the end of a file off",
    workload: "files",
    message: /not whole/,
    wrap: (engine) => {
      const isFaulty = oneIn(4);
      const put: BlobStore["put"] = (name, content, options) =>
        engine.blobs.put(name, isFaulty() ? cutEnd(content) : content, options);
      return withPort(engine, "blobs", { put });
    },
  },
];

function withWatch(engine: Engine, changed: (change: Change, isFaulty: () => boolean) => Change[]): Engine {
  const watch: KeyStore["watch"] = (prefix, signal) => {
    // The watch begins with the call, not with the first step of its loop.
    const changes = engine.keys.watch(prefix, signal);
    const isFaulty = oneIn(9);
    return (async function* () {
      for await (const change of changes) yield* changed(change, isFaulty);
    })();
  };
  return withPort(engine, "keys", { watch });
}

async function* cutEnd(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of content) yield chunk.subarray(0, Math.max(1, chunk.length - 7));
}
