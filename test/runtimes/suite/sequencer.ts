import type { Case } from "./case.js";
import { equal, take } from "./expect.js";

export const sequencer: Case[] = [
  {
    name: "next() with guarantee strong gives ids in order, each once",
    async run({ fl, id }) {
      const ids: bigint[] = [];
      for (let i = 0; i < 3; i++) ids.push(await fl.sequencer().next(id, { guarantee: "strong" }));
      equal(ids.join(), "1,2,3", "the first ids");
      const together = await Promise.all(
        Array.from({ length: 10 }, () => fl.sequencer().next(id, { guarantee: "strong" })),
      );
      equal(new Set([...ids, ...together]).size, 13, "different ids");
    },
  },
  {
    name: "ids() goes on from block to block",
    async run({ fl, id }) {
      const ids = await take(fl.sequencer().ids(id, { block: 10, guarantee: "strong" }), 25);
      equal(new Set(ids).size, 25, "different ids");
      equal(
        ids.every((each, i) => i === 0 || each > (ids[i - 1] ?? each)),
        true,
        "in order",
      );
    },
  },
];
