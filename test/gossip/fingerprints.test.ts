import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, test } from "vitest";
import { MapValueSchema } from "../../gen/atomix/map/map_pb.js";
import { HashInput, hashed } from "../../src/gossip/murmur.js";
import { Replica } from "../../src/gossip/replica.js";
import { BUCKETS, GROUP_BUCKETS, GROUPS } from "../../src/gossip/reserved-key.js";
import { utf8 } from "../../src/lib/utf8.js";
import { ManualClock } from "../support/link-pair.js";

const newReplica = () => new Replica("m", { tombstoneMs: 0, environment: new ManualClock() });

const clock = (at: number) => Uint8Array.of(0, 0, 0, 0, 0, 0, 0, at);

/** All hashes of a replica. */
const hashesOf = ({ fingerprints }: Replica) => ({
  root: [...fingerprints.root()],
  groups: [...fingerprints.groups()],
  buckets: Array.from({ length: GROUPS }, (_, group) => [...fingerprints.bucketsOf(group)]).flat(),
});

/** Another replica with the same entries, in another order. */
function rebuilt(at: Replica): Replica {
  const other = newReplica();
  for (const key of [...at.keys()].reverse()) {
    const value = at.get(key);
    if (value) other.apply(key, value);
  }
  return other;
}

function hash(text: string): [number, number] {
  new HashInput().text(text).hash();
  return [(hashed[0] ?? 0) >>> 0, (hashed[1] ?? 0) >>> 0];
}

describe("the hash", () => {
  test("is MurmurHash3 (x86, 32 bits) in its first word", () => {
    const known: [text: string, hash: number][] = [
      ["", 0],
      ["test", 0xba6bd213],
      ["Hello, world!", 0xc0363e43],
      ["The quick brown fox jumps over the lazy dog", 0x2e4ff723],
    ];
    for (const [text, expected] of known) assert.equal(hash(text)[0], expected, text);
  });

  test("has a second word that is fixed, so that all runtimes agree", () => {
    assert.deepEqual(
      ["", "test", "ключ 🔑"].map((text) => hash(text)[1]),
      SECOND_WORDS,
    );
  });

  test("of a text is that of its UTF-8 bytes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 400 }), (text) => {
        new HashInput().bytes(utf8(text)).hash();
        const expected = [...hashed];
        new HashInput().text(text).hash();
        assert.deepEqual([...hashed], expected);
      }),
    );
  });

  test("spreads 100,000 similar keys over all buckets, without a collision", () => {
    const at = newReplica();
    const counts = new Uint32Array(BUCKETS);
    const seen = new Set<string>();
    for (let i = 0; i < 100_000; i++) {
      const bucket = at.fingerprints.bucketOf(`user:${i}`);
      counts[bucket] = (counts[bucket] ?? 0) + 1;
      seen.add(hash(`user:${i}`).join());
    }
    assert.equal(seen.size, 100_000);
    // The mean is 24.4; a Poisson distribution exceeds these bounds less than once in 1000 runs.
    assert.ok(
      Math.min(...counts) >= 3 && Math.max(...counts) <= 60,
      `${Math.min(...counts)}, ${Math.max(...counts)}`,
    );
  });
});

/** Computed by another program. */
const SECOND_WORDS = [2628190328, 1812274353, 4106494200];

describe("fingerprints", () => {
  const key = fc.constantFrom("a", "b", "ключ", "🔑", "k1", "k2", "k3");
  const step = fc.oneof(
    fc.record({ type: fc.constant("set" as const), key, value: fc.string({ maxLength: 2 }) }),
    fc.record({ type: fc.constantFrom("delete" as const, "forget" as const, "drop" as const), key }),
    fc.record({ type: fc.constantFrom("root" as const, "buckets" as const) }),
  );

  test("depend only on the entries, whatever has happened before and whenever they were read", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const at = newReplica();
        for (const each of steps) {
          if (each.type === "set") at.set(each.key, utf8(each.value));
          else if (each.type === "root") at.fingerprints.root();
          else if (each.type === "buckets") at.fingerprints.bucketsOf(0);
          else if (each.type === "delete") at.delete([each.key]);
          else if ("key" in each) at[each.type]([each.key]);
        }
        assert.deepEqual(hashesOf(at), hashesOf(rebuilt(at)));
        at.drop([...at.keys()]);
        assert.deepEqual(hashesOf(at), hashesOf(newReplica()));
      }),
    );
  });

  test("of the levels are the XOR of those below", () => {
    const at = newReplica();
    for (let i = 0; i < 5000; i++) at.set(`k${i}`, utf8("v"));
    const { root, groups, buckets } = hashesOf(at);
    const xor = (words: number[], from: number, count: number) => {
      const sum = [0, 0];
      for (let i = 2 * from; i < 2 * (from + count); i++) sum[i & 1] = (sum[i & 1] ?? 0) ^ (words[i] ?? 0);
      return sum;
    };
    assert.deepEqual(xor(groups, 0, GROUPS), root);
    for (let group = 0; group < GROUPS; group++) {
      assert.deepEqual(
        xor(buckets, group * GROUP_BUCKETS, GROUP_BUCKETS),
        groups.slice(2 * group, 2 * group + 2),
      );
    }
    const before = buckets.slice();
    at.set("k17", utf8("w"));
    const changed = hashesOf(at).buckets.flatMap((word, i) => (word === before[i] ? [] : [i >> 1]));
    assert.deepEqual([...new Set(changed)], [at.fingerprints.bucketOf("k17")], "one bucket changes");
  });

  const rootOf = (...entries: [key: string, timestamp: Uint8Array, value: string, tombstone?: boolean][]) => {
    const at = newReplica();
    for (const [key, timestamp, value, tombstone = false] of entries) {
      at.apply(key, create(MapValueSchema, { digest: { timestamp, tombstone }, value: utf8(value) }));
    }
    return [...at.fingerprints.root()].join();
  };
  const withId = Uint8Array.of(...clock(5), 97);

  test("tell versions and keys apart, and values only where a version may have several", () => {
    const roots = [
      rootOf(["k", withId, "v"]),
      rootOf(["k", withId, "", true]),
      rootOf(["l", withId, "v"]),
      rootOf(["k", Uint8Array.of(...clock(5), 98), "v"]),
      rootOf(["k", clock(5), "v"]),
      rootOf(["k", clock(5), "w"]),
      rootOf(["kv", clock(5), ""]),
      rootOf(["k", clock(5), "", true]),
      rootOf(["k", new Uint8Array(), "v"]),
    ];
    assert.equal(new Set(roots).size, roots.length);
    assert.equal(rootOf(["k", withId, "v"]), rootOf(["k", withId, "w"]));
    assert.equal(rootOf(["k", new Uint8Array(), "v"]), rootOf(["k", clock(0), "v"]), "both are clock 0");
  });
});
