import { Code } from "@connectrpc/connect";
import { conflictFacts } from "fairlead";
import type { Case } from "./case.js";
import { equal, fails } from "./expect.js";

export const lock: Case[] = [
  {
    name: "one holder at a time, with a fence that grows",
    async run({ fl, id }) {
      const held = await fl.lock().acquire(id, { ttlMs: 10_000 });
      equal(await fl.lock().tryAcquire(id), undefined, "a second holder");
      const waiting = fl.lock().acquire(id, { waitMs: 5000 });
      await held.release();
      const next = await waiting;
      equal((next.fence ?? 0n) > (held.fence ?? 0n), true, "a greater fence");
      await next.release();
    },
  },
  {
    name: "withLock() runs the task under the lock, and lets go of it when it throws",
    async run({ fl, id }) {
      const seen = await fl.lock().withLock(id, async ({ signal, fence }) => {
        equal(await fl.lock().tryAcquire(id), undefined, "another one meanwhile");
        return `${signal.aborted} ${typeof fence}`;
      });
      equal(seen, "false bigint", "what the task is given");
      const broken = fl.lock().withLock(id, () => {
        throw new TypeError("broken");
      });
      equal(await broken.catch(String), "TypeError: broken", "what it throws");
      const free = await fl.lock().tryAcquire(id);
      equal(free !== undefined, true, "free again");
      await free?.release();
    },
  },
  {
    // Compiled, where a runtime has no such statement; some have no Symbol.asyncDispose either.
    name: "leaving `await using` lets go of it",
    async run({ fl, id }) {
      {
        await using held = await fl.lock().acquire(id);
        equal(held.signal.aborted, false, "while it is held");
      }
      const free = await fl.lock().tryAcquire(id);
      equal(free !== undefined, true, "free again");
      await free?.release();
    },
  },
  {
    name: "acquire() gives up after waitMs",
    async run({ fl, id }) {
      const held = await fl.lock().acquire(id);
      await fails(fl.lock().acquire(id, { waitMs: 50 }), Code.DeadlineExceeded, "waiting in vain");
      await held.release();
    },
  },
  {
    name: "a holder that lost the lock cannot write under its fence",
    async run({ fl, id }) {
      const old = await fl.lock().acquire(id);
      await fl.state().set(id, 1, { fence: old });
      await old.release();
      const next = await fl.lock().acquire(id);
      const error = await fails(
        fl.state().set(id, 2, { fence: old }),
        Code.Aborted,
        "the old holder's write",
      );
      equal(conflictFacts(error)?.fence, next.fence, "the newest fence in its details");
      await next.release();
    },
  },
];
