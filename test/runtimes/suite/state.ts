import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { bytes, conflictFacts, isConflict, message, SchemaError, type StandardSchema, text } from "fairlead";
import { SayHelloRequestSchema } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import type { Case } from "./case.js";
import { equal, fails, failure } from "./expect.js";

/** A schema as zod and its like have it. */
const cart: StandardSchema<unknown, { items: string[] }> = {
  "~standard": {
    version: 1,
    vendor: "suite",
    validate: (value) => {
      const { items } = (value ?? {}) as { items?: unknown };
      if (Array.isArray(items)) return { value: { items } };
      return { issues: [{ message: "must be a list", path: ["items"] }] };
    },
  },
};

export const state: Case[] = [
  {
    name: "set(), get() and delete() round trip, absent is undefined",
    async run({ fl, id }) {
      const store = fl.state<{ n: number }>();
      equal(await store.get(id), undefined, "before");
      const etag = await store.set(id, { n: 1 }, { ttlMs: 60_000 });
      const hit = await store.get(id);
      equal(hit?.value.n, 1, "the value");
      equal(hit?.etag, etag, "the etag");
      equal((hit?.ttlRemainingMs ?? 0) > 50_000, true, "what is left of the ttl");
      await store.delete(id);
      equal(await store.get(id), undefined, "behind");
    },
  },
  {
    name: "a write over a stale etag is a conflict that tells what is there",
    async run({ fl, id }) {
      const store = fl.state<number>();
      const stale = await store.set(id, 1);
      const etag = await store.set(id, 2, { ifMatch: stale ?? "" });
      const error = await fails(store.set(id, 3, { ifMatch: stale ?? "" }), Code.Aborted, "the stale write");
      equal(isConflict(error), true, "isConflict()");
      equal(conflictFacts(error)?.etag, etag, "the etag in its details");
      await fails(store.set(id, 3, { ifAbsent: true }), Code.Aborted, "a write where it must be absent");
      equal((await store.get(id))?.value, 2, "the value");
    },
  },
  {
    name: "update() loses nothing of writers at the same time",
    async run({ fl, id }) {
      const store = fl.state<string[]>();
      const add = (item: string) => store.update(id, (items = []) => [...items, item]);
      await Promise.all(["pear", "plum", "fig", "lime"].map(add));
      equal((await store.get(id))?.value.sort().join(), "fig,lime,pear,plum", "what all of them wrote");
    },
  },
  {
    name: "transaction() does all or nothing, getMany() reads several",
    async run({ fl, id }) {
      const store = fl.state<number>();
      const etag = await store.set(`${id}-a`, 1);
      await store.transaction((tx) => {
        tx.set(`${id}-b`, 2);
        tx.delete(`${id}-a`, { ifMatch: etag ?? "" });
      });
      const refused = store.transaction((tx) => {
        tx.set(`${id}-b`, 3);
        tx.set(`${id}-c`, 3, { ifMatch: etag ?? "" });
      });
      await fails(refused, Code.Aborted, "a transaction with a stale etag");
      const left = await store.getMany([`${id}-a`, `${id}-b`, `${id}-c`]);
      equal([...left].map(([key, { value }]) => key + value).join(), `${id}-b2`, "what is there");
    },
  },
  {
    name: "codecs keep text, bytes and protobuf messages as they are",
    async run({ fl, id }) {
      const words = fl.state("default", { codec: text() });
      await words.set(`${id}-text`, "grüße 🍐");
      equal((await words.get(`${id}-text`))?.value, "grüße 🍐", "the text");
      const raw = fl.state("default", { codec: bytes() });
      await raw.set(`${id}-bytes`, new Uint8Array([0, 255, 128]));
      equal((await raw.get(`${id}-bytes`))?.value.join(), "0,255,128", "the bytes");
      const requests = fl.state("default", { codec: message(SayHelloRequestSchema) });
      await requests.set(`${id}-message`, create(SayHelloRequestSchema, { name: "Ada" }));
      equal((await requests.get(`${id}-message`))?.value.name, "Ada", "the message");
    },
  },
  {
    name: "a schema refuses what does not fit, written and read",
    async run({ fl, id }) {
      const carts = fl.state("default", { schema: cart });
      await carts.set(id, { items: ["pear"] });
      equal((await carts.get(id))?.value.items[0], "pear", "what fits");
      await fl.state().set(id, { items: "pear" });
      const entry = await carts.get(id);
      const error = await failure((async () => entry?.value)(), "reading what does not fit");
      equal(error instanceof ConnectError && error.code, Code.DataLoss, "the code");
      equal(
        error instanceof ConnectError && error.cause instanceof SchemaError,
        true,
        "a SchemaError as its cause",
      );
    },
  },
];
