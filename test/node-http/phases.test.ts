import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { afterEach, beforeEach, describe, test } from "vitest";
import { until } from "../support/until.js";
import { type EchoOptions, openEcho, SAY, type SayImpl } from "./echo-server.js";
import { envelope, type RawQuestion, rawHttp1, rawHttp2 } from "./raw-http.js";

const BINARY = Buffer.from([0x0a, 2, 0x68, 0x69]);

/** What reaches the process itself, which must be nothing. */
const unhandled: unknown[] = [];
const note = (reason: unknown) => void unhandled.push(reason);
beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", note);
  process.on("uncaughtExceptionMonitor", note);
});
afterEach(() => {
  process.off("unhandledRejection", note);
  process.off("uncaughtExceptionMonitor", note);
  assert.deepEqual(unhandled, []);
});

const CONNECT = {
  question: (timeoutMs?: number): RawQuestion => ({
    path: SAY,
    headers: {
      "content-type": "application/proto",
      ...(timeoutMs !== undefined && { "connect-timeout-ms": String(timeoutMs) }),
    },
    body: [BINARY],
  }),
};
const GRPC = {
  question: (timeoutMs?: number): RawQuestion => ({
    path: SAY,
    headers: {
      "content-type": "application/grpc",
      ...(timeoutMs !== undefined && { "grpc-timeout": `${timeoutMs}m` }),
    },
    body: [envelope(BINARY)],
  }),
};

const WIRES = [
  { name: "Connect over HTTP/1.1", raw: rawHttp1, ...CONNECT },
  { name: "Connect over HTTP/2", raw: rawHttp2, ...CONNECT },
  { name: "gRPC", raw: rawHttp2, ...GRPC },
];

/** A handler that runs until it is released, with what has become of its signal. */
function heldHandler() {
  const started: AbortSignal[] = [];
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const say: SayImpl = async (text, { signal }) => {
    started.push(signal);
    await released;
    return text;
  };
  return { say, started, release };
}

/** An admission that waits until it is released. */
function heldAdmission() {
  const signals: AbortSignal[] = [];
  let release = () => {};
  let refuse = (_error: ConnectError) => {};
  const admitted = new Promise<never>((resolve, reject) => {
    release = () => resolve({} as never);
    refuse = reject;
  });
  const beforeAdmission: EchoOptions["beforeAdmission"] = (call) => {
    signals.push(call.signal);
    return admitted;
  };
  return {
    beforeAdmission,
    signals,
    release: () => release(),
    refuse: (error: ConnectError) => refuse(error),
  };
}

/** A gzip that waits until it is released. */
function heldCompression() {
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const counts = { decompressing: 0, compressing: 0 };
  const compression: Compression = {
    name: "gzip",
    async compress(bytes) {
      counts.compressing++;
      await released;
      return new Uint8Array(bytes);
    },
    async decompress(bytes) {
      counts.decompressing++;
      await released;
      return new Uint8Array(bytes);
    },
  };
  return { compression, counts, release: () => release() };
}

/** A microtask queue and a few turns of the event loop later. */
const soon = () => new Promise((resolve) => setTimeout(resolve, 15));

const reasonOf = (signal: AbortSignal | undefined) => {
  assert.equal(signal?.aborted, true, "the signal has not aborted");
  return ConnectError.from(signal.reason).code;
};

type Echo = Awaited<ReturnType<typeof openEcho>>;

const assertOver = ({ counts }: Echo, ends: Code[]) => {
  assert.deepEqual(counts.ends, ends);
  assert.deepEqual([counts.arriving, counts.leaving, counts.broken], [0, 0, []]);
};

/** The code of an answer of either protocol. */
async function codeOf(answer: ReturnType<ReturnType<typeof rawHttp2>>["answer"]): Promise<number> {
  const { headers, trailers, body, status } = await answer;
  if (String(headers["content-type"]).startsWith("application/grpc")) return Number(trailers["grpc-status"]);
  if (status === 200) return 0;
  const { code } = JSON.parse(body.toString()) as { code: string };
  return { deadline_exceeded: Code.DeadlineExceeded, unavailable: Code.Unavailable }[code] ?? -1;
}

for (const { name, raw, question } of WIRES) {
  describe(name, () => {
    test("the deadline passes while the handler runs: answered at once, and its signal aborts", async () => {
      const { say, started, release } = heldHandler();
      await using at = await openEcho({ say });
      using ask = raw(at.url);
      assert.equal(await codeOf(ask(question(40)).answer), Code.DeadlineExceeded);
      assert.equal(reasonOf(started[0]), Code.DeadlineExceeded);
      assert.deepEqual(at.counts.ends, [Code.DeadlineExceeded]);
      // What the handler still returns is not sent, and ends nothing again.
      release();
      await soon();
      assertOver(at, [Code.DeadlineExceeded]);
    });

    test("the deadline passes while the body is awaited", async () => {
      let ran = false;
      const say: SayImpl = (text) => {
        ran = true;
        return text;
      };
      await using at = await openEcho({ say });
      using ask = raw(at.url);
      const body = [question().body?.[0]?.slice(0, 3) as Uint8Array];
      const call = ask({ ...question(60), body, isWhole: false });
      await until(() => at.counts.arriving === 3);
      assert.equal(await codeOf(call.answer), Code.DeadlineExceeded);
      call.end();
      await soon();
      assert.equal(ran, false);
      assertOver(at, [Code.DeadlineExceeded]);
    });

    test("the deadline passes while the call is being admitted, which then ends it", async () => {
      const { beforeAdmission, signals, release } = heldAdmission();
      await using at = await openEcho({ beforeAdmission });
      using ask = raw(at.url);
      assert.equal(await codeOf(ask(question(40)).answer), Code.DeadlineExceeded);
      assert.equal(reasonOf(signals[0]), Code.DeadlineExceeded);
      assert.deepEqual(at.counts.ends, []);
      release();
      await soon();
      assertOver(at, [Code.DeadlineExceeded]);
    });

    test("the deadline passes while the message is being decompressed: the handler never runs", async () => {
      const { compression, counts, release } = heldCompression();
      let ran = false;
      const say: SayImpl = (text) => {
        ran = true;
        return text;
      };
      await using at = await openEcho({
        say,
        acceptCompression: [compression],
      });
      using ask = raw(at.url);
      const { headers, body = [] } = question(40);
      const encoding = name === "gRPC" ? "grpc-encoding" : "content-encoding";
      const compressed = name === "gRPC" ? [envelope(BINARY, 1)] : body;
      const call = ask({ ...question(40), headers: { ...headers, [encoding]: "gzip" }, body: compressed });
      assert.equal(await codeOf(call.answer), Code.DeadlineExceeded);
      assert.equal(counts.decompressing, 1);
      release();
      await soon();
      assert.equal(ran, false);
      assertOver(at, [Code.DeadlineExceeded]);
    });

    test("the client leaves while the handler runs: its signal aborts, and what it returns is dropped", async () => {
      const { say, started, release } = heldHandler();
      await using at = await openEcho({ say });
      using ask = raw(at.url);
      const call = ask(question(5000));
      call.answer.catch(() => {});
      await until(() => started.length === 1);
      call.leave();
      await until(() => started[0]?.aborted === true);
      assert.equal(reasonOf(started[0]), Code.Canceled);
      release();
      await soon();
      assertOver(at, [Code.Canceled]);
    });

    test("the client leaves while the handler fails", async () => {
      let started = false;
      const say: SayImpl = (_text, { signal }) => {
        started = true;
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      };
      await using at = await openEcho({ say });
      using ask = raw(at.url);
      const call = ask(question());
      call.answer.catch(() => {});
      await until(() => started);
      call.leave();
      await until(() => at.counts.ends.length > 0);
      await soon();
      assertOver(at, [Code.Canceled]);
    });

    test("what a handler reads of its call when the client has left is what it was", async () => {
      const urls: string[] = [];
      let hasFailed = false;
      const say: SayImpl = async (text, context) => {
        urls.push(context.url);
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
        try {
          await soon();
          urls.push(context.url);
        } catch {
          hasFailed = true;
        }
        return text;
      };
      await using at = await openEcho({ say });
      const ask = raw(at.url);
      ask(question()).answer.catch(() => {});
      await until(() => urls.length === 1);
      ask[Symbol.dispose]();
      await until(() => urls.length === 2 || hasFailed);
      assert.deepEqual(urls, [`${at.url}${SAY}`, `${at.url}${SAY}`]);
    });

    test("the client leaves while its body is awaited", async () => {
      await using at = await openEcho();
      using ask = raw(at.url);
      const call = ask({ ...question(), body: [new Uint8Array(4)], isWhole: false });
      call.answer.catch(() => {});
      await until(() => at.counts.arriving === 4);
      call.leave();
      await until(() => at.counts.ends.length === 1);
      await soon();
      assertOver(at, [Code.Canceled]);
    });

    test("the client leaves while its call is being admitted, or is then refused", async () => {
      for (const outcome of ["admitted", "refused"]) {
        const { beforeAdmission, signals, release, refuse } = heldAdmission();
        await using at = await openEcho({ beforeAdmission });
        using ask = raw(at.url);
        const call = ask(question());
        call.answer.catch(() => {});
        await until(() => signals.length === 1);
        call.leave();
        await until(() => signals[0]?.aborted === true);
        assert.equal(reasonOf(signals[0]), Code.Canceled);
        if (outcome === "admitted") release();
        else refuse(new ConnectError("no", Code.PermissionDenied));
        await soon();
        assertOver(at, outcome === "admitted" ? [Code.Canceled] : []);
      }
    });

    test("the client leaves while its response is being compressed", async () => {
      const { compression, counts, release } = heldCompression();
      await using at = await openEcho({ acceptCompression: [compression], compressMinBytes: 0 });
      using ask = raw(at.url);
      const { headers } = question();
      const call = ask({
        ...question(),
        headers: { ...headers, "accept-encoding": "gzip", "grpc-accept-encoding": "gzip" },
      });
      call.answer.catch(() => {});
      await until(() => counts.compressing === 1);
      call.leave();
      await soon();
      release();
      await soon();
      assertOver(at, [0 as Code]);
    });

    test("the client leaves while a large response is being sent", async () => {
      await using at = await openEcho({ say: () => "x".repeat(32 * 1024 ** 2) });
      using ask = raw(at.url);
      const call = ask(question());
      call.answer.catch(() => {});
      await until(() => at.counts.leaving > 0);
      call.leave();
      await until(() => at.counts.leaving === 0);
      assertOver(at, [0 as Code]);
    });

    test("a failing compression of the response is the call's error", async () => {
      const compression: Compression = {
        name: "gzip",
        compress: () => Promise.reject(new Error("out of order")),
        decompress: (bytes) => Promise.resolve(new Uint8Array(bytes)),
      };
      await using at = await openEcho({ acceptCompression: [compression], compressMinBytes: 0 });
      using ask = raw(at.url);
      const { headers } = question();
      const answer = await ask({
        ...question(),
        headers: { ...headers, "accept-encoding": "gzip", "grpc-accept-encoding": "gzip" },
      }).answer;
      if (name === "gRPC") assert.equal(answer.trailers["grpc-status"], String(Code.Internal));
      else assert.equal(answer.status, 500);
    });

    test("the server shuts down: calls that come then are refused, one whose handler runs may answer", async () => {
      const shutdown = new AbortController();
      const { say, started, release } = heldHandler();
      await using at = await openEcho({ say, shutdownSignal: shutdown.signal });
      using ask = raw(at.url);
      const running = ask(question());
      const sending = ask({ ...question(), body: [BINARY.subarray(0, 2)], isWhole: false });
      await until(() => started.length === 1 && at.counts.arriving === 2);
      shutdown.abort(new ConnectError("the server stops", Code.Unavailable));
      assert.equal(reasonOf(started[0]), Code.Unavailable);
      assert.equal(await codeOf(sending.answer), Code.Unavailable);
      sending.end();
      assert.equal(await codeOf(ask(question()).answer), Code.Unavailable);
      assert.deepEqual(at.counts.ends, [Code.Unavailable]);
      assert.equal(at.counts.admitted, 2);
      release();
      assert.equal(await codeOf(running.answer), 0);
      await soon();
      assertOver(at, [Code.Unavailable, 0 as Code]);
    });

    test("a signal that is read when the call has ended has aborted", async () => {
      const signals: (() => AbortSignal)[] = [];
      const say: SayImpl = (text, context) => {
        signals.push(() => context.signal);
        if (text === "") throw new ConnectError("no", Code.NotFound);
        return text;
      };
      await using at = await openEcho({ say });
      using ask = raw(at.url);
      await ask(question()).answer;
      assert.equal(reasonOf(signals[0]?.()), Code.Canceled);
    });

    test("timeoutMs() counts down, and is undefined without a deadline", async () => {
      const seen: (number | undefined)[] = [];
      const say: SayImpl = async (text, { timeoutMs }) => {
        seen.push(timeoutMs());
        return text;
      };
      await using at = await openEcho({ say });
      using ask = raw(at.url);
      await ask(question(5000)).answer;
      await ask(question()).answer;
      assert.ok((seen[0] ?? 0) > 4000 && (seen[0] ?? 0) <= 5000, String(seen[0]));
      assert.equal(seen[1], undefined);
    });
  });
}

test("HTTP/2: the whole connection ends while handlers run, and all of their calls end once", async () => {
  const { say, started, release } = heldHandler();
  await using at = await openEcho({ say });
  const ask = rawHttp2(at.url);
  for (let i = 0; i < 20; i++) ask(GRPC.question(5000)).answer.catch(() => {});
  await until(() => started.length === 20);
  ask[Symbol.dispose]();
  await until(() => started.every(({ aborted }) => aborted));
  release();
  await soon();
  assertOver(
    at,
    Array.from({ length: 20 }, () => Code.Canceled),
  );
});

test("HTTP/1.1: pipelined calls whose connection ends all end once", async () => {
  const { connect } = await import("node:net");
  const { say, started, release } = heldHandler();
  await using at = await openEcho({ say });
  const socket = connect(at.port, "127.0.0.1");
  const head = `POST ${SAY} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: 4\r\n\r\n`;
  for (let i = 0; i < 5; i++) socket.write(Buffer.concat([Buffer.from(head), BINARY]));
  await until(() => started.length === 5);
  socket.destroy();
  await until(() => started.every(({ aborted }) => aborted));
  release();
  await soon();
  assertOver(
    at,
    Array.from({ length: 5 }, () => Code.Canceled),
  );
});
