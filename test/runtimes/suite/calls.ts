import { Code } from "@connectrpc/connect";
import type { Case } from "./case.js";
import { equal, fails, wait } from "./expect.js";

/** Cases about calls in general. */
export const calls: Case[] = [
  {
    name: "a deadline ends a call as deadline_exceeded",
    async run({ fl }) {
      const slow = fl.service("mirror").fetch("/slow", { timeoutMs: 100 });
      await fails(slow, Code.DeadlineExceeded, "a call to a slow app");
    },
  },
  {
    name: "a signal ends a call as canceled, before it is sent and while it is answered",
    async run({ fl, id }) {
      const state = fl.state().get(id, { signal: AbortSignal.abort() });
      await fails(state, Code.Canceled, "a call with a signal that is aborted");
      const given = new AbortController();
      const slow = fl.service("mirror").fetch("/slow", { signal: given.signal });
      await wait(50);
      given.abort();
      await fails(slow, Code.Canceled, "a call that was aborted");
      equal(await fl.hello().say("Ada"), "Hello, Ada", "the next call");
    },
  },
  {
    name: "many calls at the same time are answered, each with its own",
    async run({ fl, id }) {
      const store = fl.state<number>();
      const numbers = Array.from({ length: 20 }, (_, i) => i);
      await Promise.all(numbers.map((n) => store.set(`${id}-${n}`, n)));
      const read = await Promise.all(numbers.map(async (n) => (await store.get(`${id}-${n}`))?.value));
      equal(read.join(), numbers.join(), "what was read");
    },
  },
  {
    name: "headers travel both ways, the server's errors keep their code and text",
    async run({ fl }) {
      let requestId: string | null = null;
      const headers = { "x-request-id": "suite-1" };
      const onHeader = (answered: Headers) => {
        requestId = answered.get("fairlead-request-id");
      };
      await fl.hello().say("Ada", { headers, onHeader });
      equal(requestId, "suite-1", "the request id in the answer");
      const error = await fails(
        fl.state("no-such").get("k"),
        Code.InvalidArgument,
        "a store that is not there",
      );
      equal(error.rawMessage.includes("no-such"), true, "its text names the store");
    },
  },
];
