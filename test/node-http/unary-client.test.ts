import assert from "node:assert/strict";
import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, connect, createServer as createTcp } from "node:net";
import { Code, ConnectError, createClient, createContextValues, type Interceptor } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, test } from "vitest";
import { createNodeTransport, type NodeTransportOptions } from "../../src/node.js";
import { needsNewConnection } from "../../src/rpc/new-connection.js";
import { failure } from "../decisions/failure.js";
import { until } from "../support/until.js";
import { Echo, openEcho } from "./echo-server.js";
import { envelope } from "./raw-http.js";

const unhandled: unknown[] = [];
const note = (reason: unknown) => void unhandled.push(reason);
const close: (() => unknown)[] = [];
beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", note);
});
afterEach(async () => {
  for (const each of close.splice(0).reverse()) await each();
  process.off("unhandledRejection", note);
  assert.deepEqual(unhandled, []);
});

/** A stream that a server has got, with its body so far. */
interface Received {
  stream: ServerHttp2Stream;
  headers: IncomingHttpHeaders;
  session: ServerHttp2Session;
  body: Buffer;
  hasEnded: boolean;
}

/** A bare HTTP/2 server whose streams a test answers itself. */
async function openBare({
  maxStreams,
  answer,
}: {
  maxStreams?: number;
  answer?: (received: Received) => void;
} = {}) {
  const received: Received[] = [];
  const sessions: ServerHttp2Session[] = [];
  const server = createServer(
    maxStreams === undefined ? {} : { settings: { maxConcurrentStreams: maxStreams } },
  );
  server.on("session", (session) => {
    sessions.push(session);
    session.on("error", () => {});
  });
  server.on("stream", (stream, headers) => {
    const session = stream.session as ServerHttp2Session;
    const one: Received = { stream, headers, session, body: Buffer.alloc(0), hasEnded: false };
    received.push(one);
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => {
      one.body = Buffer.concat([one.body, chunk]);
    });
    stream.on("end", () => {
      one.hasEnded = true;
    });
    answer?.(one);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  close.push(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received, sessions };
}

function dial(url: string, options: NodeTransportOptions = {}) {
  const transport = createNodeTransport(url, options);
  close.push(transport.close);
  return createClient(Echo, transport);
}

const HI = Buffer.from([0x0a, 2, 0x68, 0x69]);

/** Answers with the text "hi", as the protocol of the request has it. */
function answerHi({ stream, headers }: Pick<Received, "stream" | "headers">): void {
  const type = String(headers["content-type"]);
  if (!type.startsWith("application/grpc")) {
    stream.respond({ ":status": 200, "content-type": type });
    stream.end(HI);
    return;
  }
  const isWeb = type.startsWith("application/grpc-web");
  stream.respond({ ":status": 200, "content-type": type }, { waitForTrailers: !isWeb });
  if (!isWeb) stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  const trailers = isWeb ? envelope(Buffer.from("grpc-status: 0\r\n"), 0x80) : Buffer.alloc(0);
  stream.end(Buffer.concat([envelope(HI), trailers]));
}

const soon = (ms = 20) => new Promise((resolve) => setTimeout(resolve, ms));

describe("the peer's limit on streams", () => {
  test("calls above it wait, and one that is canceled or too late leaves the queue unseen", async () => {
    const at = await openBare({ maxStreams: 2 });
    const { say } = dial(at.url);
    const running = [say({ value: "1" }), say({ value: "2" })];
    await until(() => at.received.length === 2);
    const abort = new AbortController();
    const canceled = failure(say({ value: "canceled" }, { signal: abort.signal }));
    const late = failure(say({ value: "late" }, { timeoutMs: 30 }));
    const third = say({ value: "3" });
    await soon();
    assert.equal(at.received.length, 2);
    abort.abort();
    assert.equal((await canceled).code, Code.Canceled);
    assert.equal((await late).code, Code.DeadlineExceeded);
    answerHi(at.received[0] as Received);
    await running[0];
    await until(() => at.received.length === 3 && at.received[2]?.hasEnded === true);
    assert.equal(at.received[2]?.body.subarray(2).toString(), "3");
    for (const each of at.received.slice(1)) answerHi(each);
    await Promise.all([...running, third]);
    assert.equal(at.received.length, 3);
    assert.equal(at.sessions.length, 1);
  });

  test("it may grow while calls wait", async () => {
    const at = await openBare({ maxStreams: 1 });
    const { say } = dial(at.url);
    const calls = [say({}), say({}), say({})];
    await until(() => at.received.length === 1);
    at.sessions[0]?.settings({ maxConcurrentStreams: 10 });
    await until(() => at.received.length === 3);
    for (const each of at.received) answerHi(each);
    await Promise.all(calls);
  });
});

describe("the bodies of a new connection", () => {
  test("the first call's is sent at once, the others' after a round trip: not in the same packets", async () => {
    const at = await openBare();
    // Between both, what the server sends can be held back.
    let isHeld = false;
    const held: (() => void)[] = [];
    const way = createTcp((socket) => {
      const onward = connect(Number(new URL(at.url).port), "127.0.0.1");
      socket.on("data", (chunk: Buffer) => onward.write(chunk));
      onward.on("data", (chunk: Buffer) => {
        if (isHeld) held.push(() => socket.write(chunk));
        else socket.write(chunk);
      });
      for (const each of [socket, onward]) each.on("error", () => {});
      socket.on("close", () => onward.destroy());
    });
    way.listen(0, "127.0.0.1");
    await once(way, "listening");
    close.push(() => way.close());
    const { say } = dial(`http://127.0.0.1:${(way.address() as AddressInfo).port}`);
    const abort = new AbortController();
    // A call that ends without an answer opens the connection.
    const first = failure(say({ value: "first" }, { signal: abort.signal }));
    await until(() => at.received.length === 1);
    abort.abort();
    await first;
    await until(() => at.received[0]?.stream.destroyed === true);
    await soon();
    isHeld = true;
    const calls = [say({ value: "second" }), say({ value: "third" })];
    await until(() => at.received.length === 3);
    await soon();
    assert.deepEqual(
      at.received.slice(1).map(({ hasEnded }) => hasEnded),
      [true, false],
    );
    // The PING is acknowledged.
    isHeld = false;
    for (const each of held.splice(0)) each();
    await until(() => at.received[2]?.hasEnded === true);
    assert.equal(at.received[2]?.body.subarray(2).toString(), "third");
    for (const each of at.received.slice(1)) answerHi(each);
    await Promise.all(calls);
  });
});

for (const protocol of ["connect", "grpc", "grpc-web"] as const) {
  describe(protocol, () => {
    test("a signal that has aborted before: nothing is sent", async () => {
      const at = await openBare();
      const error = await failure(dial(at.url, { protocol }).say({}, { signal: AbortSignal.abort() }));
      assert.equal(error.code, Code.Canceled);
      await soon();
      assert.equal(at.received.length, 0);
    });

    test("a call that is aborted while it connects is never sent", async () => {
      const at = await openBare();
      const abort = new AbortController();
      const { say } = dial(at.url, { protocol });
      const error = failure(say({ value: "gone" }, { signal: abort.signal }));
      abort.abort(new Error("of my own"));
      assert.equal((await error).code, Code.Canceled);
      const next = say({ value: "next" });
      await until(() => at.received.length === 1 && at.received[0]?.hasEnded === true);
      assert.match(String(at.received[0]?.body), /next/);
      answerHi(at.received[0] as Received);
      await next;
    });

    test("a call that is aborted in flight resets its stream, and the connection goes on", async () => {
      const at = await openBare();
      const abort = new AbortController();
      const { say } = dial(at.url, { protocol });
      const error = failure(say({}, { signal: abort.signal, timeoutMs: 10_000 }));
      await until(() => at.received[0]?.hasEnded === true);
      const closed = once(at.received[0]?.stream as ServerHttp2Stream, "close");
      abort.abort();
      assert.equal((await error).code, Code.Canceled);
      await closed;
      assert.equal(at.received[0]?.stream.rstCode, 8);
      const next = say({});
      await until(() => at.received.length === 2);
      answerHi(at.received[1] as Received);
      assert.equal((await next).value, "hi");
      assert.equal(at.sessions.length, 1);
    });

    test("the signal of a call that has ended is not listened to any more", async () => {
      const at = await openBare({ answer: answerHi });
      const abort = new AbortController();
      let listeners = 0;
      const { addEventListener, removeEventListener } = abort.signal;
      abort.signal.addEventListener = (...args: unknown[]) => {
        listeners++;
        addEventListener.apply(abort.signal, args as never);
      };
      abort.signal.removeEventListener = (...args: unknown[]) => {
        listeners--;
        removeEventListener.apply(abort.signal, args as never);
      };
      const { say } = dial(at.url, { protocol });
      for (let i = 0; i < 5; i++) await say({}, { signal: abort.signal });
      assert.ok(listeners <= 0, `${listeners} listeners`);
    });

    test("the deadline passes: the call fails at once, and the stream is reset", async () => {
      const at = await openBare();
      const startMs = performance.now();
      const error = await failure(dial(at.url, { protocol }).say({}, { timeoutMs: 60 }));
      assert.equal(error.code, Code.DeadlineExceeded);
      assert.ok(performance.now() - startMs < 1000);
      const { headers } = at.received[0] as Received;
      assert.ok(headers["grpc-timeout"] === "60m" || headers["connect-timeout-ms"] === "60");
      await until(() => at.received[0]?.stream.destroyed === true);
    });

    for (const interceptors of [[], [((next) => next) as Interceptor]]) {
      test(`a server that resets the stream at the deadline, ${interceptors.length} interceptors: deadline_exceeded`, async () => {
        const at = await openBare({
          answer: ({ stream }) => void setTimeout(() => stream.close(8), 58),
        });
        const { say } = dial(at.url, { protocol, interceptors });
        for (let i = 0; i < 3; i++) {
          assert.equal((await failure(say({}, { timeoutMs: 60 }))).code, Code.DeadlineExceeded);
        }
      });
    }

    test("a reset long before the deadline is a lost connection", async () => {
      const at = await openBare({ answer: ({ stream }) => stream.close(8) });
      assert.equal(
        (await failure(dial(at.url, { protocol }).say({}, { timeoutMs: 5000 }))).code,
        Code.Unavailable,
      );
    });

    test("a response above readMaxBytes fails the call, before it has arrived", async () => {
      const at = await openBare({
        answer({ stream, headers }) {
          const type = String(headers["content-type"]);
          stream.respond({ ":status": 200, "content-type": type });
          if (protocol === "connect") stream.write(new Uint8Array(1001));
          // Byte by byte, so that no part has the whole envelope.
          else
            void (async () => {
              for (const byte of envelope(new Uint8Array(), 0, 1001)) {
                stream.write(Buffer.from([byte]));
                await soon(3);
              }
            })();
        },
      });
      const error = await failure(dial(at.url, { protocol, readMaxBytes: 1000 }).say({}));
      assert.equal(error.code, Code.ResourceExhausted);
      assert.match(error.rawMessage, /1001/);
      await until(() => at.received[0]?.stream.destroyed === true);
    });

    test("a response that goes on and on fails the call", async () => {
      const at = await openBare({
        answer({ stream, headers }) {
          stream.respond({ ":status": 200, "content-type": String(headers["content-type"]) });
          if (protocol !== "connect") stream.write(envelope(HI));
          const more = setInterval(() => stream.write(new Uint8Array(500)), 1);
          stream.on("close", () => clearInterval(more));
        },
      });
      const error = await failure(dial(at.url, { protocol, readMaxBytes: 1000 }).say({}));
      assert.equal(error.code, Code.ResourceExhausted);
    });

    test("interceptors see the request, and may replace its headers, signal, context values, URL and message", async () => {
      const at = await openBare({ answer: answerHi });
      let seen: { method: string; url: string; text: string } | undefined;
      const interceptor: Interceptor = (next) => (request) => {
        if (request.stream) return next(request);
        request.header.set("x-added", "1");
        const { value } = request.message as unknown as { value: string };
        seen = { method: request.method.name, url: request.url, text: value };
        return next({ ...request, url: `${request.url}?x=1` });
      };
      await dial(at.url, { protocol, interceptors: [interceptor] }).say({ value: "hi" });
      assert.deepEqual(seen, { method: "Say", url: `${at.url}/test.Echo/Say`, text: "hi" });
      assert.equal(at.received[0]?.headers["x-added"], "1");
      assert.equal(at.received[0]?.headers[":path"], "/test.Echo/Say?x=1");
    });

    test("an interceptor's own signal ends the call", async () => {
      const at = await openBare();
      const abort = new AbortController();
      const interceptor: Interceptor = (next) => (request) =>
        next({ ...request, signal: abort.signal } as never);
      const error = failure(dial(at.url, { protocol, interceptors: [interceptor] }).say({}));
      await until(() => at.received.length === 1);
      abort.abort();
      assert.equal((await error).code, Code.Canceled);
      await until(() => at.received[0]?.stream.destroyed === true);
    });

    test("the signal that interceptors see aborts with the caller's, with the deadline, and with the end", async () => {
      const signals: AbortSignal[] = [];
      const interceptor: Interceptor = (next) => (request) => {
        signals.push(request.signal);
        assert.equal(request.signal, signals.at(-1));
        return next(request);
      };
      const at = await openBare();
      const { say } = dial(at.url, { protocol, interceptors: [interceptor] });
      const abort = new AbortController();
      const canceled = failure(say({}, { signal: abort.signal }));
      await until(() => at.received.length === 1);
      abort.abort();
      assert.equal((await canceled).code, Code.Canceled);
      assert.equal((await failure(say({}, { timeoutMs: 30 }))).code, Code.DeadlineExceeded);
      const whole = say({});
      await until(() => at.received.length === 3);
      answerHi(at.received[2] as Received);
      await whole;
      assert.deepEqual(
        signals.map(({ aborted }) => aborted),
        [true, true, true],
      );
      assert.equal(ConnectError.from(signals[1]?.reason).code, Code.DeadlineExceeded);
    });

    test("an interceptor that takes its time uses up the deadline", async () => {
      const at = await openBare();
      const interceptor: Interceptor = (next) => async (request) => {
        await soon(250);
        return next(request);
      };
      const startMs = performance.now();
      const { say } = dial(at.url, { protocol, interceptors: [interceptor] });
      assert.equal((await failure(say({}, { timeoutMs: 300 }))).code, Code.DeadlineExceeded);
      const tookMs = performance.now() - startMs;
      assert.ok(tookMs >= 290 && tookMs < 500, `${tookMs} ms`);
    });

    test("an interceptor's context value asks for a new connection", async () => {
      const at = await openBare({ answer: answerHi });
      const interceptor: Interceptor = (next) => (request) =>
        next({ ...request, contextValues: createContextValues().set(needsNewConnection, true) } as never);
      await dial(at.url, { protocol }).say({});
      const { say } = dial(at.url, { protocol, interceptors: [interceptor] });
      await say({});
      await soon(550);
      await say({});
      assert.equal(at.sessions.length, 3);
    });

    test("headers that HTTP/2 forbids fail the call, and no other", async () => {
      const at = await openBare({ answer: answerHi });
      const { say } = dial(at.url, { protocol });
      const error = await failure(say({}, { headers: { connection: "close" } }));
      assert.equal(error.code, Code.Internal);
      assert.equal((await say({})).value, "hi");
    });
  });
}

describe("gRPC's errors", () => {
  for (const protocol of ["grpc", "grpc-web"] as const) {
    test(`${protocol}: a response of a proxy, whose text is no envelope`, async () => {
      const at = await openBare({
        answer({ stream }) {
          stream.respond({ ":status": 503, "content-type": "text/html" });
          stream.end("<html>no server is there</html>");
        },
      });
      const error = await failure(dial(at.url, { protocol }).say({}));
      assert.deepEqual([error.code, error.rawMessage], [Code.Unavailable, "HTTP 503"]);
    });
  }

  test("a response of trailers only", async () => {
    const at = await openBare({
      answer: ({ stream }) =>
        stream.respond(
          {
            ":status": 200,
            "content-type": "application/grpc",
            "grpc-status": "5",
            "grpc-message": "not%20here",
            "x-meta": "1",
          },
          { endStream: true },
        ),
    });
    const error = await failure(dial(at.url, { protocol: "grpc" }).say({}));
    assert.deepEqual([error.code, error.rawMessage], [Code.NotFound, "not here"]);
    assert.equal(error.metadata.get("x-meta"), "1");
  });

  for (const [encoded, text] of [
    ["100% wrong", "100% wrong"],
    ["a%20b%zz", "a b%zz"],
    ["%ff", "%ff"],
    ["plain", "plain"],
  ] as const) {
    test(`the message ${encoded}, in the trailers and in trailers only`, async () => {
      const at = await openBare({
        answer({ stream, headers }) {
          const isOnly = headers["x-only"] === "1";
          const status = { "grpc-status": "10", "grpc-message": encoded };
          const head = { ":status": 200, "content-type": "application/grpc" };
          if (isOnly) return stream.respond({ ...head, ...status }, { endStream: true });
          stream.respond(head, { waitForTrailers: true });
          stream.on("wantTrailers", () => stream.sendTrailers(status));
          stream.end();
        },
      });
      const { say } = dial(at.url, { protocol: "grpc" });
      for (const isOnly of ["0", "1"]) {
        const headers = { "x-only": isOnly };
        const error = await failure(say({}, { headers }));
        assert.deepEqual([error.code, error.rawMessage], [Code.Aborted, text]);
      }
    });
  }
});

test("the transport's close() fails the calls under way and those that wait", async () => {
  const at = await openBare({ maxStreams: 1 });
  const transport = createNodeTransport(at.url);
  const { say } = createClient(Echo, transport);
  const errors = [failure(say({})), failure(say({}))];
  await until(() => at.received.length === 1);
  await transport.close();
  for (const error of errors) assert.equal((await error).code, Code.Canceled);
});

for (const protocol of ["connect", "grpc", "grpc-web"] as const) {
  test(`GOAWAY, ${protocol}: calls under way end on the old connection, others go over a new one`, async () => {
    const at = await openBare();
    const { say } = dial(at.url, { protocol });
    const first = say({ value: "1" });
    await until(() => at.received[0]?.hasEnded === true);
    at.sessions[0]?.goaway(0, at.received[0]?.stream.id ?? 0);
    await soon();
    const second = say({ value: "2" });
    await until(() => at.received.length === 2);
    assert.equal(at.sessions.length, 2);
    assert.notEqual(at.received[0]?.session, at.received[1]?.session);
    for (const each of at.received) answerHi(each);
    assert.deepEqual([(await first).value, (await second).value], ["hi", "hi"]);
  });

  test(`GOAWAY, ${protocol}: a call that the server has not processed is made again on a new connection`, async () => {
    const at = await openBare();
    const { say } = dial(at.url, { protocol });
    const calls = [say({ value: "1" }), say({ value: "2" })];
    await until(() => at.received.length === 2 && at.received.every(({ hasEnded }) => hasEnded));
    const [processed, unprocessed] = at.received;
    assert.deepEqual([processed?.stream.id, unprocessed?.stream.id], [1, 3]);
    at.sessions[0]?.goaway(0, 1);
    await until(() => at.received.length === 3);
    const again = at.received[2] as Received;
    assert.notEqual(again.session, processed?.session);
    await until(() => again.hasEnded);
    assert.deepEqual(again.body, unprocessed?.body);
    for (const each of [processed, again]) answerHi(each as Received);
    assert.deepEqual(
      (await Promise.all(calls)).map(({ value }) => value),
      ["hi", "hi"],
    );
  });
}

test("the client and the unary handler: 500 calls at once, each with its own answer", async () => {
  await using at = await openEcho();
  const { say } = dial(at.url, { protocol: "grpc" });
  const texts = Array.from({ length: 500 }, (_, i) => `text ${i}`);
  const answers = await Promise.all(texts.map((value) => say({ value })));
  assert.deepEqual(
    answers.map(({ value }) => value),
    texts,
  );
  assert.deepEqual([at.counts.arriving, at.counts.ends.length], [0, 500]);
});
