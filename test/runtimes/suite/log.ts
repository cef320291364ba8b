import { Code } from "@connectrpc/connect";
import type { Case } from "./case.js";
import { equal, fails, take } from "./expect.js";

export const log: Case[] = [
  {
    name: "append() and read() keep the order, from any offset",
    needs: ["streams"],
    async run({ fl, id }) {
      const records = fl.log<number>(id);
      const { firstOffset, lastOffset } = await records.append(Array.from({ length: 600 }, (_, i) => i));
      equal(`${firstOffset} ${lastOffset}`, "1 600", "the offsets");
      const all: number[] = [];
      for await (const { value } of records.read({ follow: false })) all.push(value);
      equal(
        all.every((value, i) => value === i),
        true,
        "the order",
      );
      equal(all.length, 600, "how many");
      const [last] = await take(records.read({ from: 600n, follow: false }), 1);
      equal(last?.value, 599, "the last one");
    },
  },
  {
    name: "read() follows what is appended, until its loop is left or its signal aborts",
    needs: ["streams"],
    async run({ fl, id }) {
      const records = fl.log<string>(id);
      await records.append("a");
      const following = take(records.read(), 2);
      await records.append("b");
      equal((await following).map(({ value }) => value).join(), "a,b", "what came");
      const given = new AbortController();
      const waiting = (async () => {
        for await (const { value } of records.read({ from: 2n, signal: given.signal })) {
          if (value === "b") given.abort();
        }
      })();
      await fails(waiting, Code.Canceled, "a read that was aborted");
    },
  },
];
