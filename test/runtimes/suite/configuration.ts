import type { Case } from "./case.js";
import { equal, take } from "./expect.js";

export const configuration: Case[] = [
  {
    name: "save(), get() and delete() keep a group's values",
    async run({ fl, id }) {
      const store = fl.configuration("default", { group: id });
      await store.save({ theme: "dark", size: "4" });
      equal(
        [...(await store.get(["size", "theme"]))].map(([key, { content }]) => key + content).join(),
        "size4,themedark",
        "the values",
      );
      await store.delete(["size"]);
      equal([...(await store.get()).keys()].join(), "theme", "what is left");
    },
  },
  {
    // Also where fetch is all there is: then it asks again every pollMs.
    name: "open() follows the values",
    async run({ fl, id }) {
      const store = fl.configuration("default", { group: id });
      await store.save({ theme: "light" });
      const opened = await store.open({ keys: ["theme"], fallback: { theme: "none" }, pollMs: 50 });
      equal(opened.current.theme, "light", "the first value");
      const changed = take(opened.changes(), 1);
      await store.save({ theme: "dark" });
      equal((await changed)[0]?.value, "dark", "the change");
      equal(opened.current.theme, "dark", "the current value");
      await opened.close();
    },
  },
];
