import assert from "node:assert/strict";
import { BytesValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createContextKey, type Interceptor } from "@connectrpc/connect";
import { test } from "vitest";
import { createCaller } from "../../src/tunnel/call/caller.js";
import { createSocketPair } from "../../src/tunnel/socket/pair.js";
import { Blobs } from "./blobs.js";
import { blob, open, openEnds, turns, withResolvers } from "./ends.js";
import type { Frame } from "./frames.js";
import { RawPeer } from "./raw.js";

const hello: Frame = { kind: "settings", settings: {} };
const never = new Promise<never>(() => {});
const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));

/** An iterable that yields `values` and then waits forever. `stopped` resolves when it is returned. */
function endless(values: number[]) {
  const { promise: stopped, resolve } = withResolvers<void>();
  const remaining = [...values];
  const source: AsyncIterable<{ value: Uint8Array }> = {
    [Symbol.asyncIterator]: () => ({
      next: () =>
        remaining.length > 0 ? Promise.resolve({ done: false, value: blob(remaining.shift() ?? 0) }) : never,
      return: async () => {
        resolve();
        return { done: true, value: undefined };
      },
    }),
  };
  return { source, stopped };
}

test("an abort sends RESET, aborts the handler's signal and ends the request stream", async () => {
  const { promise: ended, resolve } = withResolvers<unknown>();
  const { dialler, acceptor, close } = openEnds(
    {},
    {
      serves: {
        async *bidi(input, { signal }) {
          signal.addEventListener("abort", () => resolve(signal.reason));
          for await (const ask of input) yield ask;
        },
      },
    },
  );
  const stop = new AbortController();
  const { source, stopped } = endless([1, 2]);
  const reader = dialler.client.bidi(source, { signal: stop.signal })[Symbol.asyncIterator]();
  await reader.next();
  stop.abort(new Error("enough"));
  await assert.rejects(reader.next(), { code: Code.Canceled });
  assert.equal(((await ended) as ConnectError).code, Code.Canceled);
  await stopped;
  await turns();
  assert.equal(dialler.seen.sent["RESET"], 1);
  assert(acceptor.session.isIdle && dialler.session.isIdle);
  close();
});

test("a stream that is canceled with its first frame causes no unhandled rejection", async () => {
  const unheard: unknown[] = [];
  const note = (error: unknown) => void unheard.push(error);
  process.on("unhandledRejection", note);
  const net = createSocketPair();
  const { session } = open(net, 1, {
    interceptors: [(next) => async (request) => await next(request)],
    serves: {
      async client(input) {
        for await (const { value } of input) assert(value);
        return {};
      },
    },
  });
  const peer = new RawPeer(net, 0);
  peer.sendTogether(
    hello,
    { kind: "call", id: 1, method: "/test.Blobs/Client", timeoutMs: undefined, header: [] },
    { kind: "reset", id: 1, code: Code.Canceled },
  );
  await turns();
  process.off("unhandledRejection", note);
  assert.deepEqual(unheard, []);
  assert(session.isIdle);
});

test("a deadline that the caller notices first reaches the handler as deadline_exceeded", async () => {
  const { promise: ended, resolve } = withResolvers<ConnectError>();
  const net = createSocketPair();
  open(net, 1, {
    serves: {
      async unary(_, { signal }) {
        await aborted(signal);
        resolve(ConnectError.from(signal.reason));
        return {};
      },
    },
  });
  const peer = new RawPeer(net, 0);
  peer.sendTogether(
    hello,
    { kind: "call", id: 1, method: "/test.Blobs/Unary", timeoutMs: undefined, header: [] },
    { kind: "message", id: 1, bytes: new Uint8Array(), end: true, more: false },
  );
  await turns();
  peer.send({ kind: "reset", id: 1, code: Code.DeadlineExceeded });
  assert.equal((await ended).code, Code.DeadlineExceeded);
  peer.close(1000, "");
});

test("the handler's end enforces a deadline by itself: the caller gets the error, whatever the handler does", async () => {
  const net = createSocketPair();
  open(net, 1, { serves: { unary: () => never } });
  const peer = new RawPeer(net, 0);
  peer.sendTogether(
    hello,
    { kind: "call", id: 1, method: "/test.Blobs/Unary", timeoutMs: 20, header: [] },
    { kind: "message", id: 1, bytes: new Uint8Array(), end: true, more: false },
  );
  await peer.until(() => peer.of("STATUS", 1).length === 1);
  assert.equal(peer.of("STATUS", 1)[0]?.number, Code.DeadlineExceeded);
  peer.close(1000, "");
});

test("half-close: a handler reads to the end of the calling half and answers after it", async () => {
  const order: string[] = [];
  const { dialler, close } = openEnds(
    {},
    {
      serves: {
        async *bidi(input) {
          for await (const { value } of input) order.push(`read ${value.length}`);
          order.push("end");
          yield blob(9);
          yield blob(8);
        },
      },
    },
  );
  const asks = async function* () {
    yield blob(1);
    yield blob(0);
  };
  const sizes: number[] = [];
  for await (const { value } of dialler.client.bidi(asks())) sizes.push(value.length);
  assert.deepEqual(
    [order, sizes],
    [
      ["read 1", "read 0", "end"],
      [9, 8],
    ],
  );
  close();
});

test("a calling half without messages ends, too", async () => {
  const { dialler, close } = openEnds(
    {},
    {
      serves: {
        async client(input) {
          let count = 0;
          for await (const _ of input) count++;
          return blob(count);
        },
      },
    },
  );
  assert.equal((await dialler.client.client((async function* () {})())).value.length, 0);
  close();
});

test("a handler that ends early ends the calling half: its iterable is returned, and nothing more is sent", async () => {
  const { dialler, acceptor, close } = openEnds(
    {},
    {
      serves: {
        async client(input) {
          for await (const { value } of input) if (value.length === 2) break;
          return blob(3);
        },
      },
    },
  );
  const { source, stopped } = endless([1, 2]);
  assert.equal((await dialler.client.client(source)).value.length, 3);
  await stopped;
  // An iterable that is busy is returned at its next yield.
  let isEnded = false;
  const busy = async function* () {
    try {
      for (;;) {
        yield blob(2);
        await turns(1);
      }
    } finally {
      isEnded = true;
    }
  };
  assert.equal((await dialler.client.client(busy())).value.length, 3);
  await turns();
  assert(isEnded);
  const sent = dialler.seen.sent["MESSAGE"];
  await turns();
  assert.equal(dialler.seen.sent["MESSAGE"], sent);
  assert(acceptor.session.isIdle && dialler.session.isIdle);
  close();
});

test("leaving a for await loop over a response cancels the call", async () => {
  const { promise: ended, resolve } = withResolvers<void>();
  const { dialler, acceptor, close } = openEnds(
    {},
    {
      serves: {
        async *server(ask, { signal }) {
          signal.addEventListener("abort", () => resolve());
          for (;;) {
            yield ask;
            await turns(1);
          }
        },
      },
    },
  );
  const transport = createCaller(dialler.session);
  const input = (async function* () {
    yield blob(5);
  })();
  const response = await transport.stream(Blobs.method.server, undefined, undefined, undefined, input);
  for await (const message of response.message) {
    assert.equal(message.value.length, 5);
    break;
  }
  await ended;
  await turns();
  assert.equal(dialler.seen.sent["RESET"], 1);
  assert(acceptor.session.isIdle && dialler.session.isIdle);
  close();
});

for (const [what, count] of [
  ["none", 0],
  ["two", 2],
] as const) {
  test(`a unary response with ${what} instead of one message is an error`, async () => {
    const net = createSocketPair();
    const { client } = open(net, 0);
    const peer = new RawPeer(net, 1);
    peer.send(hello);
    const answer = client.unary({});
    await peer.until(() => peer.of("CALL").length === 1);
    for (let i = 0; i < count; i++) {
      peer.send({ kind: "message", id: 1, bytes: new Uint8Array(), end: false, more: false });
    }
    peer.send({ kind: "status", id: 1, status: { code: 0, text: "", details: [], trailers: [] } });
    await assert.rejects(answer, { code: Code.Unimplemented, message: /protocol error/ });
    peer.close(1000, "");
  });

  test(`a unary call with ${what} instead of one message is answered with an error`, async () => {
    let called = 0;
    const net = createSocketPair();
    open(net, 1, { serves: { unary: () => ({ value: new Uint8Array(++called) }) } });
    const peer = new RawPeer(net, 0);
    peer.send(hello, { kind: "call", id: 1, method: "/test.Blobs/Unary", timeoutMs: undefined, header: [] });
    for (let i = 0; i < count; i++) {
      peer.send({ kind: "message", id: 1, bytes: new Uint8Array(), end: false, more: false });
    }
    peer.send({ kind: "end", id: 1 });
    await peer.until(() => peer.of("STATUS").length === 1);
    assert.equal(peer.of("STATUS")[0]?.number, Code.Unimplemented);
    assert.equal(called, 0);
    peer.close(1000, "");
  });
}

test("a stream that ends within a message fails as internal", async () => {
  const net = createSocketPair();
  const { client } = open(net, 0);
  const peer = new RawPeer(net, 1);
  peer.send(hello);
  const answer = client.unary({});
  await peer.until(() => peer.of("CALL").length === 1);
  peer.send(
    { kind: "message", id: 1, bytes: Uint8Array.of(10), end: false, more: true },
    { kind: "status", id: 1, status: { code: 0, text: "", details: [], trailers: [] } },
  );
  await assert.rejects(answer, { code: Code.Internal, message: /within a message/ });
  peer.close(1000, "");
});

test("bytes that cannot be decoded fail the call at either end, and no other call", async () => {
  const net = createSocketPair();
  const { client, session } = open(net, 0, { serves: { unary: (ask) => ask } });
  const peer = new RawPeer(net, 1);
  peer.send(hello);
  const broken = Uint8Array.of(10, 200);
  const answers = [
    client.unary({}),
    (async () => {
      for await (const _ of client.server({}));
    })(),
  ];
  await peer.until(() => peer.of("CALL").length === 2);
  for (const id of [1, 3]) peer.send({ kind: "message", id, bytes: broken, end: true, more: false });
  for (const answer of answers) await assert.rejects(answer, { code: Code.Internal });
  peer.send(
    { kind: "call", id: 2, method: "/test.Blobs/Unary", timeoutMs: undefined, header: [] },
    { kind: "message", id: 2, bytes: broken, end: true, more: false },
  );
  await peer.until(() => peer.of("STATUS", 2).length === 1);
  assert.equal(peer.of("STATUS", 2)[0]?.number, Code.InvalidArgument);
  assert(session.isIdle && session.canBeginCalls);
  peer.close(1000, "");
});

test("headers, trailers and error details arrive, for every kind of call", async () => {
  const set = ({
    requestHeader,
    responseHeader,
    responseTrailer,
  }: {
    requestHeader: Headers;
    responseHeader: Headers;
    responseTrailer: Headers;
  }) => {
    responseHeader.set("x-header", `${requestHeader.get("x-ask")} back`);
    responseHeader.append("x-twice", "1");
    responseHeader.append("x-twice", "2");
    responseTrailer.set("x-trailer", "\u00e9 t");
  };
  const { dialler, close } = openEnds(
    {},
    {
      serves: {
        unary(ask, context) {
          set(context);
          if (ask.value.length < 5) return ask;
          throw new ConnectError("no ä", Code.AlreadyExists, { "x-meta": "m" }, [
            { desc: BytesValueSchema, value: blob(3) },
          ]);
        },
        async *server(ask, context) {
          set(context);
          yield ask;
          throw new ConnectError("later", Code.DataLoss, { "x-meta": "m" });
        },
      },
    },
  );
  const got: (string | null)[] = [];
  const options = {
    headers: { "x-ask": "there and" },
    onHeader: (header: Headers) => got.push(header.get("x-header"), header.get("x-twice")),
    onTrailer: (trailer: Headers) => got.push(trailer.get("x-trailer")),
  };
  await dialler.client.unary(blob(1), options);
  assert.deepEqual(got.splice(0), ["there and back", "1, 2", "\u00e9 t"]);
  const error = ConnectError.from(
    await dialler.client.unary(blob(9), options).catch((error: unknown) => error),
  );
  assert.deepEqual([error.code, error.rawMessage], [Code.AlreadyExists, "no ä"]);
  assert.equal(error.findDetails(BytesValueSchema)[0]?.value.length, 3);
  assert.deepEqual(
    ["x-meta", "x-trailer", "x-header"].map((name) => error.metadata.get(name)),
    ["m", "\u00e9 t", "there and back"],
  );
  const reader = dialler.client.server(blob(2), options)[Symbol.asyncIterator]();
  assert.equal((await reader.next()).value?.value.length, 2);
  assert.deepEqual(got.splice(0), ["there and back", "1, 2"]);
  await assert.rejects(
    reader.next(),
    (later) =>
      later instanceof ConnectError && later.code === Code.DataLoss && later.metadata.get("x-meta") === "m",
  );
  close();
});

test.each([
  ["alone", []],
  ["behind an interceptor that copies the request", [(next) => (request) => next({ ...request })]],
] satisfies [string, Interceptor[]][])("a handler may copy its context: %s", async (_, interceptors) => {
  const { promise: ended, resolve } = withResolvers<void>();
  const { dialler, close } = openEnds(
    {},
    {
      interceptors,
      serves: {
        async unary(ask, context) {
          const { signal, requestHeader, responseHeader, responseTrailer, values, timeoutMs, ...rest } = {
            ...context,
          };
          assert.deepEqual([requestHeader.get("x-ask"), rest.protocolName], ["yes", "tunnel"]);
          assert(Number(timeoutMs()) > 1000 && values.get(createContextKey(7)) === 7);
          responseHeader.set("x-header", "h");
          responseTrailer.set("x-trailer", "t");
          signal.addEventListener("abort", () => resolve());
          return ask;
        },
      },
    },
  );
  const got: (string | null)[] = [];
  await dialler.client.unary(blob(1), {
    headers: { "x-ask": "yes" },
    timeoutMs: 60_000,
    onHeader: (header) => got.push(header.get("x-header")),
    onTrailer: (trailer) => got.push(trailer.get("x-trailer")),
  });
  assert.deepEqual(got, ["h", "t"]);
  // The call has ended.
  await ended;
  close();
});

test.each([
  ["at once", () => undefined],
  ["later", async () => undefined],
])("what a handler leaves out of its answer has its default, as over HTTP: %s", async (_, unary) => {
  const { dialler, close } = openEnds({}, { serves: { unary: unary as never } });
  assert.equal((await dialler.client.unary(blob(3))).value.length, 0);
  close();
});

test("an error of a handler that is no ConnectError is not shown to the caller", async () => {
  const { dialler, close } = openEnds(
    {},
    {
      serves: {
        unary() {
          throw new Error("secret");
        },
      },
    },
  );
  await assert.rejects(dialler.client.unary({}), { code: Code.Internal, rawMessage: "internal error" });
  close();
});

test("a path is sent once in each direction, then its number", async () => {
  const { dialler, acceptor, close } = openEnds(
    { serves: { unary: (ask) => ask } },
    { serves: { unary: (ask) => ask, client: async () => ({}) } },
  );
  const lengths: number[] = [];
  dialler.seen.onMessage = (bytes) => lengths.push(bytes.length);
  for (let i = 0; i < 3; i++) await dialler.client.unary({});
  await dialler.client.client((async function* () {})());
  for (let i = 0; i < 3; i++) await dialler.client.unary({});
  await acceptor.client.unary({});
  // CALL of 7 bytes and MESSAGE of 3: only the first CALL has the path.
  const calls = lengths.filter((length) => length >= 8);
  assert.equal(calls.filter((length) => length > 20).length, 2);
  close();
});

test("a session opens with a token that is longer than the bytes that are flushed early", async () => {
  const authorization = `Bearer ${"x".repeat(4000)}`;
  const { dialler, acceptor, close } = openEnds(
    { identity: { authorization } },
    { serves: { unary: (b) => b } },
  );
  assert.equal((await dialler.client.unary(blob(3))).value.length, 3);
  assert.equal(acceptor.session.peer.authorization, authorization);
  close();
});
