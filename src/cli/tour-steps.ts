import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type Fairlead, text } from "../index.js";
import type { TourServer } from "./tour-server.js";

/** One primitive of the tour. */
export interface Step {
  name: string;
  /** Calls the primitive and resolves with a summary. Throws if a result is wrong. */
  run(fl: Fairlead, tour: Tour): Promise<string>;
  /** Whether it needs a bidirectional stream. */
  duplex?: boolean;
}

/** The context of a step. */
interface Tour {
  /** A part of all names that are written, so that tours do not share data. */
  id: string;
  /** The tour's own server; undefined if the user named one. */
  own: TourServer | undefined;
}

/** Thrown by a step that the server is not set up for. Not a failure. */
export class Skipped extends Error {}

/** The number of bytes of the Node executable that are uploaded and downloaded. */
const FILE_BYTES = 8 * 1024 * 1024;

/** Every primitive, each through its facade and under names of its own. */
export const STEPS: Step[] = [
  {
    name: "hello",
    async run(fl) {
      const answer = await fl.hello().say("Ada");
      expectSame(answer.endsWith(", Ada"), true, `the greeting "${answer}"`);
      return answer;
    },
  },
  {
    name: "state",
    async run(fl, { id }) {
      const carts = fl.state<{ items: string[] }>();
      await carts.set(id, { items: ["pear"] }, { ttlMs: 60_000 });
      await Promise.all(
        ["plum", "fig", "lime"].map((item) =>
          carts.update(id, (cart) => ({ items: [...(cart?.items ?? []), item] })),
        ),
      );
      const hit = await carts.get(id);
      expectSame(hit?.value.items.length, 4, "items after three updates at once");
      await carts.transaction((tx) => {
        tx.set(`${id}-b`, { items: [] });
        tx.delete(id, { ifMatch: hit?.etag ?? "" });
      });
      const remaining = await carts.getMany([id, `${id}-b`]);
      expectSame([...remaining.keys()].join(), `${id}-b`, "the keys after the transaction");
      await carts.delete(`${id}-b`);
      return "set, three updates at once, a transaction, a bulk read";
    },
  },
  {
    name: "lock",
    async run(fl, { id }) {
      const locks = fl.lock();
      const held = await locks.acquire(id, { ttlMs: 5000 });
      expectSame(await locks.tryAcquire(id, { ttlMs: 5000 }), undefined, "a second owner");
      await held.release();
      const next = await locks.acquire(id, { ttlMs: 5000, waitMs: 2000 });
      await next.release();
      if (held.fence === undefined || next.fence === undefined)
        return "acquired twice; this server gives no fences";
      expectSame(next.fence > held.fence, true, "the fence grows");
      return `acquired twice, fence ${held.fence} then ${next.fence}`;
    },
  },
  {
    name: "sequencer",
    async run(fl, { id }) {
      const ids = fl.sequencer();
      const strong = await Promise.all(
        Array.from({ length: 20 }, () => ids.next(id, { guarantee: "strong" })),
      );
      expectSame(new Set(strong).size, 20, "different ids");
      let last = 0n;
      let count = 0;
      for await (const next of ids.ids(id, { block: 100 })) {
        last = next;
        if (++count === 250) break;
      }
      return `20 ids one by one, 250 in blocks, up to ${last}`;
    },
  },
  {
    name: "pubsub",
    duplex: true,
    async run(fl, { id }) {
      const topic = fl.pubsub();
      const got: string[] = [];
      // A group begins with its first consumer. It does not receive earlier events.
      const onOpen = async () => {
        for (const word of ["one", "two", "three"]) await topic.publish(id, { word });
      };
      for await (const message of topic.subscribe<{ word: string }>(id, { group: id, onOpen })) {
        got.push(message.data.word);
        message.ack();
        if (got.length === 3) break;
      }
      expectSame(got.join(), "one,two,three", "the events in order");
      return "three events in order, acknowledged one by one";
    },
  },
  {
    name: "callbacks",
    async run(fl, { id, own }) {
      if (!own)
        throw new Skipped("the server must know the app's address: only on a server of the tour's own");
      const received = own.whenReceived(id);
      await fl.pubsub().publish("tour", id, { contentType: "text/plain" });
      expectSame(await received, id, "the event that the app received");
      return "an event delivered to an app that serves AppCallback";
    },
  },
  {
    name: "files",
    async run(fl, { id }) {
      const files = fl.files();
      const sent = createHash("sha256");
      const upMs = performance.now();
      await files.put(id, hashChunks(createReadStream(process.execPath, { end: FILE_BYTES - 1 }), sent));
      const up = rate(FILE_BYTES, upMs);
      const got = await files.get(id);
      const received = createHash("sha256");
      const downMs = performance.now();
      let size = 0;
      if (got) for await (const chunk of hashChunks(got, received)) size += chunk.length;
      const down = rate(FILE_BYTES, downMs);
      expectSame(size, FILE_BYTES, "the size that came back");
      expectSame(received.digest("hex"), sent.digest("hex"), "the SHA-256 of what came back");
      const part = await files.get(id, { range: { offset: 1, length: 3 } });
      expectSame(await part?.text(), "ELF", "three bytes of the middle");
      expectSame(await files.delete(id), true, "deleting it");
      return `${FILE_BYTES / 1024 ** 2} MiB of a real file up at ${up}, down at ${down}, same hash`;
    },
  },
  {
    name: "map",
    async run(fl, { id }) {
      const seats = fl.map<string>(id, { codec: text() });
      const version = await seats.put("12A", "ada");
      await seats.put("12A", "bob", { ifVersion: version });
      const stale = await seats.put("12A", "eve", { ifVersion: version }).catch((error: unknown) => error);
      expectSame(stale instanceof Error, true, "a stale version is refused");
      expectSame((await seats.get("12A"))?.value, "bob", "the seat");
      await seats.remove("12A");
      return "put, compare and set, a stale write refused";
    },
  },
  {
    name: "gossipMap",
    duplex: true,
    async run(fl, { id }) {
      await using here = await fl.openGossipMap<string>(id);
      await using there = await fl.openGossipMap<string>(id);
      const changes = there.changes();
      here.set("ada", "online");
      for await (const change of changes) {
        expectSame(change.key, "ada", "the key that changed");
        break;
      }
      expectSame(there.get("ada"), "online", "the other replica");
      return "two replicas, one write, both agree";
    },
  },
  {
    name: "log",
    async run(fl, { id }) {
      const log = fl.log<number>(id);
      const { firstOffset } = await log.append(Array.from({ length: 1000 }, (_, i) => i));
      const read: number[] = [];
      for await (const { value } of log.read({ from: firstOffset, follow: false })) read.push(value);
      expectSame(read.length, 1000, "records");
      expectSame(
        read.every((value, i) => value === i),
        true,
        "their order",
      );
      return "1000 records appended and read back in order";
    },
  },
  {
    name: "configuration",
    duplex: true,
    async run(fl, { id }) {
      const store = fl.configuration(undefined, { group: id });
      await store.save({ theme: "light" });
      await using config = await store.open({ keys: ["theme"] });
      const changes = config.changes();
      await store.save({ theme: "dark" });
      for await (const { value } of changes) {
        expectSame(value, "dark", "the change");
        break;
      }
      expectSame(config.current["theme"], "dark", "the current value");
      await store.delete(["theme"]);
      return "saved, opened, a change seen";
    },
  },
  {
    name: "secrets",
    async run(fl, { own }) {
      const secret = await fl.secrets().get("tour");
      if (!own && !secret) return 'asked for "tour", which is not there';
      expectSame(secret?.reveal(), "not for every eye", "the secret");
      expectSame(JSON.stringify(secret), '"[redacted]"', "how it prints");
      return "read, and printed as [redacted]";
    },
  },
  {
    name: "bindings",
    async run(fl) {
      const { data } = await fl.bindings.invoke("echo", "create", new TextEncoder().encode("hi"));
      expectSame(new TextDecoder().decode(data), "hi", "the echo");
      return "what went in came out";
    },
  },
  {
    name: "service",
    async run(fl, { own }) {
      if (!own) throw new Skipped("the server must know the service: only on a server of the tour's own");
      const reply = await fl.service("tour").fetch("/teapot?milk=no", { method: "POST", body: "earl grey" });
      expectSame(reply.status, 418, "the status");
      expectSame(await reply.text(), "POST /teapot?milk=no earl grey", "the body");
      return "POST through the server to another app, 418 came back";
    },
  },
  {
    name: "lifecycle",
    async run(fl, { own }) {
      if (!own) throw new Skipped("it would change the greeting of a server that others use");
      await fl.lifecycle.apply("hello", "helloworld", { greeting: "Ahoy" });
      const answer = await fl.hello().say("Ada");
      await fl.lifecycle.apply("hello", "helloworld", { greeting: "Hello" });
      expectSame(answer, "Ahoy, Ada", "the new greeting");
      return "the greeting changed at run time, and back";
    },
  },
];

/** Passes chunks on and hashes them on the way. */
async function* hashChunks(chunks: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

function expectSame(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: expected ${String(expected)}, got ${String(actual)}`);
}

const rate = (bytes: number, beganMs: number): string =>
  `${(bytes / 1024 ** 2 / ((performance.now() - beganMs) / 1000)).toFixed(0)} MiB/s`;
