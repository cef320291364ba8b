import { Code } from "@connectrpc/connect";
import type { Case } from "./case.js";
import { equal, fails } from "./expect.js";

export const lifecycle: Case[] = [
  {
    name: "hello().say() is answered",
    async run({ fl }) {
      equal(await fl.hello().say("Ada"), "Hello, Ada", "the greeting");
    },
  },
  {
    name: "lifecycle.apply() changes a component while the server runs",
    async run({ fl, setting: { runtime } }) {
      await fl.lifecycle.apply("hello", runtime, { greeting: "Ahoy" });
      equal(await fl.hello(runtime).say("Ada"), "Ahoy, Ada", "the new greeting");
      await fl.lifecycle.apply("hello", runtime, { greeting: "Hello" });
      equal(await fl.hello(runtime).say("Ada"), "Hello, Ada", "the old greeting");
      const wrong = fl.lifecycle.apply("hello", runtime, { no: "such" });
      await fails(wrong, Code.InvalidArgument, "a setting that there is not");
    },
  },
];
