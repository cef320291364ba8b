import { Code } from "@connectrpc/connect";
import { Queue } from "../../lib/queue.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import { FOLLOW_HEADER, LAST_OFFSET_TRAILER, LOG_HEADER } from "../../rpc/extension-headers.js";
import { sleep } from "../../rpc/sleep.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { expectLimit, expectMalformed, expectRefusal } from "../expect-refusal.js";
import { LIMIT, MAX_VALUE_BYTES, REQUIRED } from "../rules.js";
import { patternBytes } from "../test-data.js";
import type { LogCalls } from "./calls.js";

const BAD_NAMES = ["", "%00", "a%0Ab", "%zz", "a".repeat(256)];

/** Cases of log names and Produce. */
export function logProduceCases(on: DeclareCase<LogCalls>): void {
  logNameCases(on);
  produceCases(on);
  recordCases(on);
  openStreamCases(on);
}

function logNameCases(on: DeclareCase<LogCalls>): void {
  on("log name", "logs are apart, each with offsets of its own", async (at) => {
    equal(await at.produce(["in a"], at.log("a")), ["1", "1"]);
    equal(await at.produce(["in A"], at.log("A")), ["1", "1"]);
    equal(await at.consume(0n, at.log("a")), ["1 in a"]);
    equal(await at.consume(0n, at.log("A")), ["1 in A"]);
  });

  on("log name", "the name of a log is percent-encoded, in any spelling", async (at) => {
    await at.produce(["x"], at.log("ж/1"));
    const lower = at.own("ж/1").replaceAll("ж", "%d0%b6").replaceAll("/", "%2f");
    equal(await at.consume(0n, { [LOG_HEADER]: lower }), ["1 x"]);
  });

  on("log name", "without fairlead-log it is the log default", async (at) => {
    const mark = at.own("mark");
    const requests = async function* () {
      yield { value: utf8(mark) };
    };
    let offset = "";
    const onTrailer = (trailer: Headers) => {
      offset = trailer.get(LAST_OFFSET_TRAILER) ?? "";
    };
    await at.logs.produce(requests(), { onTrailer });
    const [record] = await at.consume(BigInt(offset), { [LOG_HEADER]: "default" }, 1);
    equal(record, `${offset} ${mark}`);
    const cancellation = new AbortController();
    for await (const { value } of at.logs.consume(
      { offset: BigInt(offset) },
      { signal: cancellation.signal },
    )) {
      equal(fromUtf8(value), mark);
      break;
    }
    cancellation.abort();
  });

  on("log name", "reading a log does not bring it into being, and finds nothing", async (at) => {
    equal(await at.consume(0n, at.log("nobody's")), []);
    equal(await at.consume(5n, at.log("nobody's")), []);
  });

  for (const name of BAD_NAMES) {
    const description = name.length > 9 ? "of 256 characters" : `"${name}"`;
    on(REQUIRED, `the log name ${description} is invalid_argument, for Produce and Consume`, async (at) => {
      await expectMalformed(at.consume(0n, { [LOG_HEADER]: name }), LOG_HEADER);
      await expectMalformed(at.produce(["x"], { [LOG_HEADER]: name }), LOG_HEADER);
    });
  }
}

function produceCases(on: DeclareCase<LogCalls>): void {
  on("Produce", "Produce answers with the first and last offset in the trailers", async (at) => {
    equal(await at.produce(["a", "b", "c"]), ["1", "3"]);
    equal(await at.produce(["d"]), ["4", "4"]);
  });

  on("Produce", "what is answered can be read at once, in order", async (at) => {
    for (let i = 0; i < 5; i++) {
      await at.produce([`${i}a`, `${i}b`]);
      equal(await at.consume(BigInt(2 * i + 1)), [`${2 * i + 1} ${i}a`, `${2 * i + 2} ${i}b`]);
    }
  });

  on("Produce", "a Produce of no records is OK, and tells no offsets", async (at) => {
    equal(await at.produce([]), [null, null]);
    equal(await at.consume(0n), []);
  });

  on("Produce", "a call may have many records", async (at) => {
    const many = Array.from({ length: 1500 }, (_, i) => String(i));
    equal(await at.produce(many), ["1", "1500"]);
    equal(
      await at.consume(0n),
      many.map((value, i) => `${i + 1} ${value}`),
    );
  });
}

function recordCases(on: DeclareCase<LogCalls>): void {
  on("Produce", "an empty record is a record", async (at) => {
    equal(await at.produce(["", "x", ""]), ["1", "3"]);
    equal(await at.consume(0n), ["1 ", "2 x", "3 "]);
  });

  on("Produce", "a record comes back byte by byte, with its time", async (at) => {
    const value = patternBytes(300_000);
    const requests = async function* () {
      yield { value };
    };
    await at.logs.produce(requests(), { headers: at.log() });
    const call = { headers: { ...at.log(), [FOLLOW_HEADER]: "false" } };
    for await (const record of at.logs.consume({}, call)) {
      equal(record.value, value);
      const agoMs = Date.now() - Number(record.timestamp);
      ok(Math.abs(agoMs) < 3_600_000, `its time is in Unix milliseconds: ${record.timestamp}`);
    }
  });

  on("Produce", "records of many producers are each there once, those of one in order", async (at) => {
    const producers = Array.from({ length: 6 }, (_, p) => Array.from({ length: 20 }, (_, i) => `${p}:${i}`));
    await Promise.all(producers.map((values) => at.produce(values)));
    const records = await at.consume(0n);
    equal(
      records.map((record) => record.split(" ")[0]),
      Array.from({ length: 120 }, (_, i) => `${i + 1}`),
    );
    for (const values of producers) {
      const own = records
        .map((record) => record.split(" ")[1])
        .filter((value) => values.includes(value ?? ""));
      equal(own, values);
    }
  });

  on(
    [LIMIT, "extensions"],
    "a record above the limit is resource_exhausted, naming valueBytes",
    async (at) => {
      const requests = async function* () {
        yield { value: new Uint8Array(MAX_VALUE_BYTES + 1) };
      };
      await expectLimit(at.logs.produce(requests(), { headers: at.log() }), "valueBytes");
      equal(await at.consume(0n), []);
    },
  );
}

function openStreamCases(on: DeclareCase<LogCalls>): void {
  on(["Produce", "time"], "a stream that stays open does not keep its records to itself", async (at) => {
    const values = new Queue<string>();
    const producing = at.produce(values);
    values.push("a");
    values.push("b");
    equal(await at.consume(0n, {}, 2), ["1 a", "2 b"]);
    values.push("c");
    values.end();
    equal(await producing, ["1", "3"]);
  });

  on("Produce", "a call that is cancelled writes nothing of what it did not append yet", async (at) => {
    const cancellation = new AbortController();
    const values = new Queue<{ value: Uint8Array }>();
    const call = { headers: at.log(), signal: cancellation.signal };
    const producing = expectRefusal(at.logs.produce(values, call), Code.Canceled);
    values.push({ value: utf8("a") });
    await sleep(20);
    cancellation.abort();
    values.end();
    await producing;
    await sleep(50);
    equal(await at.consume(0n), []);
  });

  on("Produce", "a call that is not ended ends with its deadline", async (at) => {
    const values = new Queue<{ value: Uint8Array }>();
    const call = { headers: at.log(), timeoutMs: 100 };
    await expectRefusal(at.logs.produce(values, call), Code.DeadlineExceeded);
    values.end();
    equal(await at.consume(0n), []);
  });
}
