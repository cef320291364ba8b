import { Code } from "@connectrpc/connect";
import { conflictFacts, text } from "fairlead";
import type { Case } from "./case.js";
import { equal, fails } from "./expect.js";

export const map: Case[] = [
  {
    name: "put() over a stale version is a conflict that tells the version there is",
    async run({ fl, id }) {
      const seats = fl.map(id, { codec: text() });
      const stale = await seats.put("12A", "ada", { ifAbsent: true });
      const version = await seats.put("12A", "bob", { ifVersion: stale });
      const error = await fails(seats.put("12A", "eve", { ifVersion: stale }), Code.Aborted, "a stale write");
      equal(conflictFacts(error)?.version, version, "the version in its details");
      equal((await seats.get("12A"))?.value, "bob", "who sits there");
      equal((await seats.remove("12A"))?.version, version, "what was removed");
      equal(await seats.get("12A"), undefined, "absent");
    },
  },
  {
    name: "compute() loses nothing of writers at the same time, over several partitions",
    async run({ fl, id }) {
      const counts = fl.map<number>(id, { partitions: 3 });
      const add = (key: string) => counts.compute(key, (n = 0) => n + 1);
      await Promise.all(["a", "b", "c", "a", "b", "a"].map(add));
      const all = await Promise.all(["a", "b", "c"].map(async (key) => (await counts.get(key))?.value));
      equal(all.join(), "3,2,1", "the counts");
    },
  },
];
