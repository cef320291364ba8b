import { Code } from "@connectrpc/connect";
import { fromUtf8 } from "../../lib/utf8.js";
import { FOLLOW_HEADER, FROM_TIME_HEADER, LOG_HEADER } from "../../rpc/extension-headers.js";
import { sleep } from "../../rpc/sleep.js";
import type { DeclareCase } from "../case.js";
import { equal } from "../expect.js";
import { expectMalformed, expectRefusal } from "../expect-refusal.js";
import { REQUIRED } from "../rules.js";
import type { LogCalls } from "./calls.js";

/** Cases of Consume. */
export function consumeCases(on: DeclareCase<LogCalls>): void {
  offsetCases(on);
  followCases(on);
  followerCases(on);
  startTimeCases(on);
}

function offsetCases(on: DeclareCase<LogCalls>): void {
  const cases: [offset: bigint, records: string[]][] = [
    [0n, ["1 a", "2 b", "3 c"]],
    [1n, ["1 a", "2 b", "3 c"]],
    [2n, ["2 b", "3 c"]],
    [3n, ["3 c"]],
    [4n, []],
    [1000n, []],
    [2n ** 63n, []],
  ];
  for (const [offset, records] of cases) {
    on("Consume", `of records 1 to 3, offset ${offset} gives ${records.length}`, async (at) => {
      await at.produce(["a", "b", "c"]);
      equal(await at.consume(offset), records);
    });
  }

  on("Consume", "fairlead-follow: false ends at the tail", async (at) => {
    await at.produce(["a"]);
    equal(await at.consume(0n, { [FOLLOW_HEADER]: "false" }), ["1 a"]);
    await at.produce(["b"]);
    equal(await at.consume(2n, { [FOLLOW_HEADER]: "false" }), ["2 b"]);
  });

  on(["Consume", "short log"], "below what is retained Consume skips forward", async (at) => {
    const { name = "", maxRecords = 0 } = at.stores.shortLog ?? {};
    const headers = { [LOG_HEADER]: encodeURIComponent(name) };
    const values = Array.from({ length: maxRecords + 3 }, (_, i) => `${at.own("")}${i}`);
    const [, last] = await at.produce(values, headers);
    const kept = await at.consume(0n, headers);
    equal(kept.length, maxRecords);
    equal(kept.at(-1), `${last} ${values.at(-1)}`);
    equal(await at.consume(1n, headers), kept);
    equal(await at.consume(1n, headers, maxRecords), kept, "what a follower gets");
  });
}

function followCases(on: DeclareCase<LogCalls>): void {
  on("Consume", "Consume follows: what is appended later comes too", async (at) => {
    await at.produce(["a"]);
    const reading = at.consume(0n, {}, 3);
    await at.produce(["b"]);
    await at.produce(["c"]);
    equal(await reading, ["1 a", "2 b", "3 c"]);
  });

  on("Consume", "fairlead-follow: true follows as well", async (at) => {
    const reading = at.consume(0n, { [FOLLOW_HEADER]: "true" }, 1);
    await at.produce(["a"]);
    equal(await reading, ["1 a"]);
  });

  on("Consume", "a follower from past the end receives nothing before that", async (at) => {
    const reading = at.consume(3n, {}, 2);
    await at.produce(["a", "b"]);
    await at.produce(["c", "d"]);
    equal(await reading, ["3 c", "4 d"]);
  });

  on("Consume", "a follower of a log that nobody has written to receives its first record", async (at) => {
    const reading = at.consume(0n, at.log("a"), 1);
    await at.produce(["x"], at.log("ab"));
    await at.produce(["y"], at.log("a"));
    equal(await reading, ["1 y"]);
  });
}

function followerCases(on: DeclareCase<LogCalls>): void {
  on("Consume", "any number of followers each have all records", async (at) => {
    const readings = Array.from({ length: 5 }, () => at.consume(0n, {}, 4));
    await at.produce(["a", "b"]);
    await at.produce(["c", "d"]);
    for (const reading of readings) equal(await reading, ["1 a", "2 b", "3 c", "4 d"]);
  });

  on("Consume", "a follower that leaves takes nothing from another", async (at) => {
    const stays = at.consume(0n, {}, 3);
    await at.produce(["a"]);
    await at.consume(0n, {}, 1);
    // Give the server time to notice that the follower has left.
    await sleep(20);
    await at.produce(["b", "c"]);
    equal(await stays, ["1 a", "2 b", "3 c"]);
  });

  on(["Consume", "second client"], "a follower receives what another client appends", async (at) => {
    const reading = at.consume(0n, {}, 2, await at.second());
    await at.produce(["a"]);
    await at.produce(["b"]);
    equal(await reading, ["1 a", "2 b"]);
  });

  on("Consume", "a follower ends when it cancels, and with its deadline", async (at) => {
    await at.produce(["a"]);
    const cancellation = new AbortController();
    const records: string[] = [];
    const reading = (async (call: object) => {
      for await (const { value } of at.logs.consume({}, { headers: at.log(), ...call }))
        records.push(fromUtf8(value));
    })({ signal: cancellation.signal });
    const cancelled = expectRefusal(reading, Code.Canceled);
    while (records.length === 0) await sleep(2);
    cancellation.abort();
    await cancelled;
    const late = (async () => {
      for await (const _ of at.logs.consume({ offset: 2n }, { headers: at.log(), timeoutMs: 100 }));
    })();
    await expectRefusal(late, Code.DeadlineExceeded);
    equal(records, ["a"]);
  });

  on("Consume", "a reader that is slow is sent everything in the end", async (at) => {
    await at.produce(Array.from({ length: 300 }, (_, i) => `${i} ${"x".repeat(2000)}`));
    const call = { headers: { ...at.log(), [FOLLOW_HEADER]: "false" } };
    let next = 1n;
    for await (const { offset } of at.logs.consume({}, call)) {
      equal(offset, next++);
      if (next % 100n === 0n) await sleep(10);
    }
    equal(next, 301n);
  });
}

function startTimeCases(on: DeclareCase<LogCalls>): void {
  on(
    ["Consume", "clock"],
    "fairlead-from-time starts by time, at the later of it and the offset",
    async (at) => {
      for (const value of ["a", "b", "c"]) {
        await at.produce([value]);
        await at.pass(1000);
      }
      const stamps: bigint[] = [];
      const whole = { headers: { ...at.log(), [FOLLOW_HEADER]: "false" } };
      for await (const { timestamp } of at.logs.consume({}, whole)) stamps.push(timestamp);
      const [a = 0n, b = 0n, c = 0n] = stamps;
      equal([b - a, c - b], [1000n, 1000n]);
      const from = (time: bigint, offset = 0n) => at.consume(offset, { [FROM_TIME_HEADER]: String(time) });
      equal(await from(0n), ["1 a", "2 b", "3 c"]);
      equal(await from(a + 1n), ["2 b", "3 c"]);
      equal(await from(b), ["2 b", "3 c"]);
      equal(await from(b, 3n), ["3 c"]);
      equal(await from(b, 1n), ["2 b", "3 c"]);
      equal(await from(c + 1n), []);
    },
  );

  on(["Consume", "clock"], "a follower from a future time receives nothing before it", async (at) => {
    await at.produce(["a"]);
    const whole = { headers: { ...at.log(), [FOLLOW_HEADER]: "false" } };
    let now = 0n;
    for await (const { timestamp } of at.logs.consume({}, whole)) now = timestamp;
    const later = at.consume(0n, { [FROM_TIME_HEADER]: String(now + 5000n) }, 1);
    await at.produce(["too early"]);
    await at.pass(5000);
    await at.produce(["in time"]);
    equal(await later, ["3 in time"]);
  });

  on(
    "Consume",
    "fairlead-from-time 0 is from the beginning, and one to come finds nothing yet",
    async (at) => {
      await at.produce(["a", "b"]);
      equal(await at.consume(0n, { [FROM_TIME_HEADER]: "0" }), ["1 a", "2 b"]);
      const tomorrow = String(Date.now() + 86_400_000);
      equal(await at.consume(0n, { [FROM_TIME_HEADER]: tomorrow }), []);
    },
  );

  for (const time of ["soon", "-1", "1.5", "", "1e3", "9".repeat(16)]) {
    on(REQUIRED, `fairlead-from-time "${time}" is invalid_argument`, async (at) => {
      await expectMalformed(at.consume(0n, { [FROM_TIME_HEADER]: time }), FROM_TIME_HEADER);
    });
  }

  for (const follow of ["yes", "FALSE", ""]) {
    on(REQUIRED, `fairlead-follow "${follow}" is invalid_argument`, async (at) => {
      await expectMalformed(at.consume(0n, { [FOLLOW_HEADER]: follow }), FOLLOW_HEADER);
    });
  }
}
