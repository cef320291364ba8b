import { expect, test } from "vitest";
import { randomFrom } from "../../src/lib/seeded-random.js";
import type { Stream } from "../../src/tunnel/flow/stream.js";
import { StreamMap } from "../../src/tunnel/flow/stream-map.js";

const stream = (id: number) => ({ id, nextInBucket: undefined }) as Stream;

test("a StreamMap has the same entries as a Map after any additions and deletions", () => {
  const random = randomFrom(7);
  const map = new StreamMap();
  const model = new Map<number, Stream>();
  let next = 1;
  for (let step = 0; step < 20_000; step++) {
    // More additions than deletions at first, then fewer; ids of both ends, around 2^32.
    if (random() < (step < 10_000 ? 0.6 : 0.4)) {
      next += random() < 0.01 ? 2 ** 31 : 1 + Math.floor(random() * 3);
      const added = stream(next);
      map.add(added);
      model.set(next, added);
    } else {
      const ids = [...model.keys()];
      const id = ids[Math.floor(random() * ids.length)];
      const gone = id === undefined ? undefined : model.get(id);
      if (gone) {
        expect(map.delete(gone)).toBe(true);
        expect(map.delete(gone)).toBe(false);
        model.delete(gone.id);
        expect(map.get(gone.id)).toBeUndefined();
      }
    }
    expect(map.size).toBe(model.size);
    if (step % 500 === 0) {
      expect(map.all()).toEqual([...model.values()].sort((one, other) => one.id - other.id));
      for (const [id, there] of model) expect(map.get(id)).toBe(there);
    }
  }
  map.clear();
  expect([map.size, map.all()]).toEqual([0, []]);
});
