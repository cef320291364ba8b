import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, test } from "vitest";
import { collect, reader } from "../../src/conformance/engine/reader.js";
import { neverAborts } from "../../src/conformance/engine/timing.js";
import { Heap } from "../../src/lib/heap.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import type { Change, Delivery, Entry, LogRecord, Retention, Write } from "../../src/server/engine.js";
import { SortedMap } from "../../src/server/engines/memory/sorted-map.js";
import { memoryEngine } from "../../src/server/engines/memory.js";

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const key = fc.constantFrom("", "\0", "a", "a\0", "ab", "abc", "b", "b\ue000", "b\uffff", "b😀", "😀", "😀a");

describe("keys are a plain map with versions and a clock", () => {
  type Condition = "none" | "right" | "stale" | "absent";
  const write = fc.record({
    key,
    type: fc.constantFrom("set", "delete", "check"),
    condition: fc.constantFrom<Condition>("none", "none", "right", "right", "stale", "absent"),
    ttlMs: fc.constantFrom<number | "keep" | undefined>(undefined, 1, 10, 30, "keep"),
    value: fc.uint8Array({ maxLength: 3 }),
  });
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.uniqueArray(write, { selector: (one) => one.key, minLength: 1, maxLength: 4 }),
    },
    { weight: 2, arbitrary: fc.record({ waitMs: fc.integer({ min: 1, max: 15 }) }) },
    { weight: 2, arbitrary: fc.record({ prefix: key, after: fc.option(key, { nil: undefined }) }) },
  );

  test("get, list and watch return what the model returns", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40, size: "max" }), async (steps) => {
        let nowMs = 1000;
        await using engine = memoryEngine({ now: () => nowMs });
        const { keys } = engine;
        const model = new Map<string, Entry>();
        let newest = 0n;
        const live = (name: string) => {
          const entry = model.get(name);
          return entry?.expiresAtMs !== undefined && entry.expiresAtMs <= nowMs ? undefined : entry;
        };
        const enough = new AbortController();
        const told = keys.watch("", enough.signal);

        for (const one of steps) {
          if ("waitMs" in one) {
            nowMs += one.waitMs;
          } else if ("prefix" in one) {
            const { prefix, after } = one;
            const expected = [...model.keys()]
              .filter((name) => live(name) && name.startsWith(prefix))
              .filter((name) => after === undefined || byBytes(name, after) > 0)
              .sort(byBytes);
            assert.deepEqual(await collect(keys.list(prefix, after)), expected.map(live));
          } else {
            const writes = one.map(({ key: name, type, condition, ttlMs, value }): Write => {
              const version = live(name)?.version ?? 0n;
              const ifVersion = { none: undefined, right: version, stale: version + 1n, absent: 0n }[
                condition
              ];
              const given = ifVersion === undefined ? {} : { ifVersion };
              if (type === "set")
                return { type, key: name, value, ...(ttlMs === undefined ? {} : { ttlMs }), ...given };
              if (type === "delete") return { type, key: name, ...given };
              return { type: "check", key: name, ifVersion: ifVersion ?? version };
            });
            const conflict = writes.find(
              ({ key: name, ifVersion }) =>
                ifVersion !== undefined && ifVersion !== (live(name)?.version ?? 0n),
            );
            const commit = await keys.commit(writes);
            if (conflict) {
              assert.deepEqual(commit, { conflict, actual: live(conflict.key) });
              continue;
            }
            assert.ok("version" in commit && commit.version > newest);
            newest = commit.version;
            for (const done of writes) {
              if (done.type === "delete") model.delete(done.key);
              if (done.type !== "set") continue;
              const expiresAtMs =
                done.ttlMs === "keep"
                  ? live(done.key)?.expiresAtMs
                  : done.ttlMs === undefined
                    ? undefined
                    : nowMs + done.ttlMs;
              const entry: Entry = { key: done.key, value: done.value, version: newest };
              model.set(done.key, expiresAtMs === undefined ? entry : { ...entry, expiresAtMs });
            }
          }
          const names = [...model.keys()];
          assert.deepEqual(await keys.getMany(names), names.map(live));
        }

        await keys.commit([{ type: "set", key: "end", value: utf8("") }]);
        const replayed = new Map<string, Entry>();
        for await (const change of told as AsyncIterable<Change>) {
          if (change.type === "delete") replayed.delete(change.key);
          else if (change.entry.key === "end") break;
          else replayed.set(change.entry.key, change.entry);
        }
        const names = [...model.keys()].filter(live).sort(byBytes);
        assert.deepEqual([...replayed.keys()].sort(byBytes), names);
        for (const name of names) assert.deepEqual(replayed.get(name), live(name));
      }),
      { numRuns: 300 },
    );
  });

  test("the sorted map lists the same as a sorted array", () => {
    const change = fc.record({
      key: fc.oneof(
        key,
        fc.nat(400).map((n) => `b${n}`),
        fc.nat(100).map((n) => `b😀${n}`),
      ),
      add: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 600, size: "max" }),
        key,
        fc.option(key, { nil: undefined }),
        (changes, prefix, after) => {
          const map = new SortedMap<string>();
          const model = new Set<string>();
          for (const { key: name, add } of changes) {
            if (add) map.set(name, name);
            else assert.equal(map.delete(name), model.has(name));
            if (add) model.add(name);
            else model.delete(name);
          }
          const expected = [...model]
            .filter((name) => name.startsWith(prefix) && (after === undefined || byBytes(name, after) > 0))
            .sort(byBytes);
          assert.deepEqual([...map.valuesUnder(prefix, after)], expected);
          assert.equal(map.size, model.size);
        },
      ),
      { numRuns: 30 },
    );
  });

  test("the heap returns the least first, after any pushes and pops", () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.integer(), { nil: undefined }), { maxLength: 300 }),
        fc.integer(),
        (steps, least) => {
          const heap = new Heap<number>((a, b) => a - b);
          let model: number[] = [];
          for (const item of steps) {
            if (item === undefined) {
              assert.equal(heap.pop(), model.shift());
            } else {
              heap.push(item);
              model = [...model, item].sort((a, b) => a - b);
            }
            assert.deepEqual([heap.peek(), heap.size], [model[0], model.length]);
          }
          heap.retain((item) => item >= least);
          assert.deepEqual(
            Array.from({ length: heap.size }, () => heap.pop()),
            model.filter((item) => item >= least),
          );
        },
      ),
    );
  });
});

describe("a log is an array that drops its oldest records", () => {
  const limit = (max: number) => fc.option(fc.integer({ min: 1, max }), { nil: undefined });
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        sizes: fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 6 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ maxRecords: limit(8), maxBytes: limit(400), maxAgeMs: limit(20) }) },
    { weight: 2, arbitrary: fc.record({ waitMs: fc.integer({ min: -3, max: 10 }) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        from: fc.bigInt({ min: 0n, max: 60n }),
        atMs: fc.integer({ min: 990, max: 1200 }),
      }),
    },
  );

  test("read, bounds and seek return what the model returns", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40, size: "max" }), async (steps) => {
        let nowMs = 1000;
        await using engine = memoryEngine({ now: () => nowMs });
        const { logs } = engine;
        let retention: Retention = {};
        let records: LogRecord[] = [];
        let next = 1n;
        let lastMs = 0;
        const bytes = () => records.reduce((sum, { value }) => sum + value.length + 32, 0);
        const trim = () => {
          const { maxAgeMs = Number.POSITIVE_INFINITY, maxBytes = 1e9, maxRecords = 1e9 } = retention;
          records = records.slice(Math.max(0, records.length - maxRecords));
          while (bytes() > maxBytes) records.shift();
          while (records[0] && records[0].timestampMs <= nowMs - maxAgeMs) records.shift();
        };
        const follower = reader(logs.read("l", 1n, { follow: true, signal: neverAborts() }));
        void follower.next().catch(() => {});

        for (const one of steps) {
          if ("sizes" in one) {
            lastMs = Math.max(lastMs, nowMs);
            const first = next;
            const values = one.sizes.map((size) => new Uint8Array(size).fill(Number(next % 256n)));
            for (const value of values) records.push({ offset: next++, timestampMs: lastMs, value });
            assert.deepEqual(await logs.append("l", values), { first, last: next - 1n });
          } else if ("maxRecords" in one) {
            retention = one;
            await logs.retain("l", retention);
          } else if ("waitMs" in one) {
            nowMs += one.waitMs;
          }
          trim();
          const oldest = records[0]?.offset ?? next;
          assert.deepEqual(await logs.bounds("l"), { first: oldest, next });
          if (!("from" in one)) continue;
          const { from, atMs } = one;
          const found = await collect(logs.read("l", from, { follow: false, signal: neverAborts() }));
          assert.deepEqual(
            found.flat(),
            records.filter(({ offset }) => offset >= from),
          );
          const sought = records.find(({ timestampMs }) => timestampMs >= atMs)?.offset ?? next;
          assert.equal(await logs.seek("l", atMs), sought);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("a topic's events", () => {
  const action = fc.oneof(
    { weight: 4, arbitrary: fc.record({ publish: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 2, arbitrary: fc.record({ join: fc.constantFrom<Group>("a", "b") }) },
    {
      weight: 8,
      arbitrary: fc.record({
        step: fc.nat(),
        answer: fc.constantFrom("ack", "ack", "drop", "retry", "none"),
      }),
    },
    { weight: 1, arbitrary: fc.record({ leave: fc.nat(), late: fc.boolean() }) },
  );

  type Group = "a" | "b";

  interface Member {
    group: Group;
    enough: AbortController;
    events: AsyncIterator<Delivery>;
    waiting: boolean;
    unanswered: Delivery[];
  }

  test("are handled once by each group, and each delivery is counted", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 60, size: "max" }), async (actions) => {
        await using engine = memoryEngine();
        const { topics } = engine;
        const groups = {
          a: { handled: [] as string[], seen: new Map<string, number>() },
          b: { handled: [] as string[], seen: new Map<string, number>() },
        };
        const takes: Promise<void>[] = [];
        const members: Member[] = [];
        const join = (group: Group): Member => {
          const enough = new AbortController();
          const events = topics.consume("t", group, enough.signal)[Symbol.asyncIterator]();
          const member: Member = { group, enough, events, waiting: false, unanswered: [] };
          members.push(member);
          return member;
        };
        const settle = () => new Promise((resolve) => setImmediate(resolve));
        const answer = async ({ group, unanswered }: Member, delivery: Delivery, how: string) => {
          const { handled } = groups[group];
          const text = fromUtf8(delivery.value);
          if (how === "none") unanswered.push(delivery);
          if (how === "retry") await delivery.retry(0);
          if (how === "ack" || how === "drop") {
            await delivery[how]();
            handled.push(text);
          }
          // A second answer has no effect.
          if (how !== "none") await delivery.retry(0);
        };
        const take = async (member: Member, how: string) => {
          member.waiting = true;
          const { value, done } = await member.events.next();
          member.waiting = false;
          if (done || !value) return;
          const { seen } = groups[member.group];
          const text = fromUtf8(value.value);
          seen.set(text, (seen.get(text) ?? 0) + 1);
          assert.equal(value.attempt, seen.get(text), `the attempt of ${text}`);
          await answer(member, value, how);
        };

        join("a");
        join("b");
        let published = 0;
        for (const one of actions) {
          if ("publish" in one) {
            const texts = Array.from({ length: one.publish }, () => `${published++}`);
            await topics.publish("t", texts.map(utf8));
          } else if ("join" in one) {
            join(one.join);
          } else if ("step" in one) {
            const member = members[one.step % members.length];
            if (member && !member.waiting) takes.push(take(member, one.answer));
          } else {
            const [member] = members.splice(one.leave % members.length, members.length > 1 ? 1 : 0);
            member?.enough.abort();
            for (const delivery of member?.unanswered ?? []) if (one.late) await delivery.ack();
          }
          await settle();
        }

        for (const { enough } of members) enough.abort();
        await Promise.all(takes);
        for (const group of ["a", "b"] as const) {
          const last = reader(topics.consume("t", group, neverAborts()));
          const left = published - groups[group].handled.length;
          for (let i = 0; i < left; i++) {
            const delivery = await last.next();
            groups[group].handled.push(fromUtf8(delivery.value));
            await delivery.ack();
          }
          await last.quiet(0);
          assert.equal(new Set(groups[group].handled).size, published);
          assert.equal(groups[group].handled.length, published);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("come in publish order until one is delayed; redelivered events come first", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 20 }),
        fc.nat(10),
        async (batches, held) => {
          await using engine = memoryEngine();
          const { topics } = engine;
          const enough = new AbortController();
          const events = reader(topics.consume("t", "g", enough.signal));
          let published = 0;
          for (const size of batches) {
            await topics.publish(
              "t",
              Array.from({ length: size }, () => utf8(`${published++}`)),
            );
          }
          const claimed = await events.take(Math.min(held, published));
          enough.abort();
          const again = await reader(topics.consume("t", "g", neverAborts())).take(published);
          assert.deepEqual(
            again.map(({ value, attempt }) => [fromUtf8(value), attempt]),
            Array.from({ length: published }, (_, i) => [`${i}`, i < claimed.length ? 2 : 1]),
          );
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe("a blob", () => {
  test("of any chunks returns any range like subarray()", async () => {
    const chunk = fc.integer({ min: 0, max: 90_000 });
    const at = fc.integer({ min: 0, max: 300_000 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(chunk, { maxLength: 4 }),
        fc.array(fc.record({ offset: at, length: fc.option(at, { nil: undefined }) }), { maxLength: 5 }),
        async (sizes, ranges) => {
          await using engine = memoryEngine();
          const { blobs } = engine;
          const chunks = sizes.map((size, i) => Buffer.alloc(size, `${i}abcdefg`));
          const whole = Buffer.concat(chunks);
          const content = (async function* () {
            yield* chunks;
          })();
          await blobs.put("b", content, { metadata: {}, ifAbsent: false });
          for (const { offset, length } of ranges) {
            const found = await blobs.get("b", length === undefined ? { offset } : { offset, length });
            assert.ok(found);
            const expected = whole.subarray(offset, length === undefined ? undefined : offset + length);
            assert.equal(Buffer.compare(Buffer.concat(await collect(found.content)), expected), 0);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
