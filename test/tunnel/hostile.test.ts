import assert from "node:assert/strict";
import { type BytesValue, BytesValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { afterEach, test, vi } from "vitest";
import { randomFrom } from "../../src/lib/seeded-random.js";
import { Session } from "../../src/tunnel/session.js";
import { createSocketPair } from "../../src/tunnel/socket/pair.js";
import type { SocketEvents } from "../../src/tunnel/socket/socket.js";
import { blob, open, openEnds, turns } from "./ends.js";
import { bytesOf, type Frame } from "./frames.js";
import { RawPeer } from "./raw.js";
import { parse } from "./wire.js";

afterEach(() => void vi.useRealTimers());

const hello: Frame = { kind: "settings", settings: {} };
const call = (id: number, path = "/test.Blobs/Bidi"): Frame => ({
  kind: "call",
  id,
  method: path,
  timeoutMs: undefined,
  header: [],
});
const message = (id: number, text = "", end = false): Frame => ({
  kind: "message",
  id,
  bytes: new TextEncoder().encode(text),
  end,
  more: false,
});
const WELL = { code: 0, text: "", details: [], trailers: [] };
const status = (id: number, more: object = {}): Frame => ({
  kind: "status",
  id,
  status: { ...WELL, ...more },
});
const headers = (id: number): Frame => ({ kind: "headers", id, header: [["x", "1"]] });
const end = (id: number): Frame => ({ kind: "end", id });
const reset = (id: number, code = 1): Frame => ({ kind: "reset", id, code });

const waits = {
  async *bidi(_: AsyncIterable<BytesValue>, { signal }: HandlerContext) {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  },
};

/** Violations by a dialler, with the close of its socket. */
const FROM_DIALLER: [string, (Frame | string)[], RegExp][] = [
  ["sends no SETTINGS first", [call(1)], /^4000 the first frame is not the settings$/],
  ["sends an empty message first", [""], /^4000 the first frame is not the settings$/],
  ["sends a malformed frame", [hello, "0f 00"], /^4000 .*kind 15/],
  ["sends a frame that is too large", [hello, "03 81 80 10"], /^4002 .*262145 bytes/],
  ["calls with a number of the other end", [hello, call(2)], /^4000 a call has the number 2: .*the caller's/],
  [
    "calls with a number that is not above the last",
    [hello, call(3), call(1)],
    /^4000 a call has the number 1: .*above 3/,
  ],
  ["calls with a number twice", [hello, call(1), call(1)], /^4000 a call has the number 1/],
  [
    "calls a method that was not named",
    [hello, { kind: "call", id: 1, method: 1, timeoutMs: 1, header: [] }],
    /^4000 .*method 1, which was not named/,
  ],
  ["sends a message on a stream that has not begun", [hello, message(1)], /^4000 stream 1 has not begun/],
  [
    "sends a message on a stream of ours that has not begun",
    [hello, message(2)],
    /^4000 stream 2 has not begun/,
  ],
  ["resets a stream that has not begun", [hello, reset(7)], /^4000 stream 7 has not begun/],
  [
    "gives credit to a stream that has not begun",
    [hello, { kind: "credit", id: 7, bytes: 1 }],
    /^4000 stream 7 has not begun/,
  ],
  [
    "sends a message after the end",
    [hello, call(1), end(1), message(1)],
    /^4000 a message of stream 1, whose half has ended/,
  ],
  ["ends twice", [hello, call(1), end(1), end(1)], /^4000 stream 1 ends twice/],
  ["answers its own call", [hello, call(1), status(1)], /^4000 stream 1 is answered by who calls/],
  ["sends headers of its own call", [hello, call(1), headers(1)], /^4000 stream 1 is answered by who calls/],
  ["resets with the code 0", [hello, call(1), reset(1, 0)], /^4000 a reset has the code 0/],
  ["resets with the code 17", [hello, call(1), reset(1, 17)], /^4000 a reset has the code 17/],
  [
    "gives more credit than a number holds",
    [hello, { kind: "credit", id: 0, bytes: Number.MAX_SAFE_INTEGER }],
    /^4000 more credit/,
  ],
];

for (const [what, frames, closed] of FROM_DIALLER) {
  test(`a dialler that ${what} loses its socket, with the reason`, async () => {
    const net = createSocketPair();
    const { lost } = open(net, 1, { serves: waits });
    const peer = new RawPeer(net, 0);
    peer.send(...frames);
    await lost;
    assert.match(peer.closed, closed);
  });
}

const FROM_ACCEPTOR: [string, Frame[], RegExp][] = [
  ["answers without an end", [end(1)], /^4000 stream 1 is answered, and ends without a status/],
  ["sends headers twice", [headers(1), headers(1)], /^4000 the headers of stream 1 come again or late/],
  [
    "sends headers after a message",
    [message(1), headers(1)],
    /^4000 the headers of stream 1 come again or late/,
  ],
  ["answers a call that was not made", [status(3)], /^4000 stream 3 has not begun/],
];

for (const [what, frames, closed] of FROM_ACCEPTOR) {
  test(`an acceptor that ${what} loses its socket; the call is unavailable`, async () => {
    const net = createSocketPair();
    const { client, lost } = open(net, 0);
    const peer = new RawPeer(net, 1);
    const answer = client.unary({});
    await peer.until(() => peer.of("CALL").length === 1);
    peer.send(hello, ...frames);
    await assert.rejects(answer, { code: Code.Unavailable });
    await lost;
    assert.match(peer.closed, closed);
  });
}

test("too many resets close the socket", async () => {
  // All within one second of fake time.
  vi.useFakeTimers({ toFake: ["performance"] });
  const net = createSocketPair();
  const { lost } = open(net, 1, { serves: waits });
  const peer = new RawPeer(net, 0);
  peer.send(hello);
  const flood: Frame[] = [];
  for (let id = 1; flood.length < 10_004; id += 2) flood.push(call(id), reset(id));
  peer.sendTogether(...flood);
  await lost;
  vi.useRealTimers();
  assert.match(peer.closed, /^4002 more than 5000 calls were given up in a second$/);
});

test("a peer that sends PINGs and reads nothing costs at most 4 MiB, and then its socket", async () => {
  let sent = 0;
  let closed = "";
  let events: SocketEvents | undefined;
  new Session(
    (given) => {
      events = given;
      return {
        send(bytes) {
          sent += bytes.length;
        },
        // A socket that never sends anything.
        get bufferedBytes() {
          return sent + 1024 * 1024;
        },
        keepProcessAlive() {},
        close: (code, reason) => {
          closed = `${code} ${reason}`;
        },
      };
    },
    { isDialler: false, answer: () => {} },
  );
  const pings = bytesOf(...Array.from({ length: 100_000 }, (): Frame => ({ kind: "ping", number: 1 })));
  events?.onMessage(bytesOf(hello));
  for (let i = 0; i < 13; i++) {
    events?.onMessage(pings);
    await turns(2);
  }
  assert.equal(closed, "");
  for (let i = 0; i < 2; i++) {
    events?.onMessage(pings);
    await turns(2);
  }
  assert.equal(closed, "4002 too much waits for a peer that reads nothing");
  assert(sent < 5 * 1024 * 1024);
});

test("calls beyond the limit are answered with resource_exhausted, the others continue", async () => {
  const net = createSocketPair();
  const { session } = open(net, 1, { limits: { calls: 3 }, serves: waits });
  const peer = new RawPeer(net, 0);
  peer.send(hello, ...[1, 3, 5, 7, 9].map((id) => call(id)));
  await peer.until(() => peer.of("STATUS").length === 2);
  assert.deepEqual(
    peer.of("STATUS").map(({ id, number }) => [id, number]),
    [
      [7, Code.ResourceExhausted],
      [9, Code.ResourceExhausted],
    ],
  );
  peer.send(reset(1), call(11));
  await turns();
  assert.equal(peer.of("STATUS").length, 2);
  assert.equal(peer.closed, "");
  peer.close(1000, "");
  await turns();
  assert(session.isIdle);
});

test("handlers that run on after their calls were reset count, with twice the limit", async () => {
  const net = createSocketPair();
  open(net, 1, { limits: { calls: 3 }, serves: { client: () => new Promise(() => {}) } });
  const peer = new RawPeer(net, 0);
  peer.send(hello);
  for (let id = 1; id < 20; id += 2) peer.send(call(id, "/test.Blobs/Client"), reset(id));
  await peer.until(() => peer.of("STATUS").length === 4);
  assert.deepEqual(
    peer.of("STATUS").map(({ id, number }) => [id, number]),
    [13, 15, 17, 19].map((id) => [id, Code.ResourceExhausted]),
  );
  peer.close(1000, "");
});

test("calls that the other end would not accept wait at the caller until one has ended", async () => {
  let most = 0;
  let running = 0;
  const { dialler, close } = openEnds(
    {},
    {
      limits: { calls: 3 },
      serves: {
        async unary(ask) {
          most = Math.max(most, ++running);
          await turns(2);
          running--;
          return ask;
        },
      },
    },
  );
  await dialler.ready;
  const stop = new AbortController();
  const calls = Array.from({ length: 20 }, () => dialler.client.unary(blob(3)));
  const stopped = dialler.client.unary(blob(3), { signal: stop.signal });
  stop.abort();
  await assert.rejects(stopped, { code: Code.Canceled });
  assert.equal((await Promise.all(calls)).length, 20);
  assert.equal(most, 3);
  assert.equal(dialler.seen.sent["CALL"], 20);
  close();
});

for (const size of [1001, 50_000]) {
  test(`a message of ${size} bytes, above the limit, fails only its call, at either end`, async () => {
    const { dialler, close } = openEnds(
      { messageBytes: 1000 },
      {
        limits: { messageBytes: 1000 },
        serves: {
          unary: ({ value }) => (value[0] === 1 ? blob(size) : { value }),
          async *bidi(input) {
            for await (const { value } of input) yield { value };
          },
        },
      },
    );
    const other = dialler.client.bidi(
      (async function* () {
        yield blob(5);
        await turns(30);
        yield blob(6);
      })(),
    );
    const refused = { code: Code.ResourceExhausted, message: /message has more than the 1000 bytes/ };
    await assert.rejects(dialler.client.unary(blob(size)), refused);
    await assert.rejects(dialler.client.unary(blob(1, 1)), refused);
    const sizes: number[] = [];
    for await (const { value } of other) sizes.push(value.length);
    assert.deepEqual(sizes, [5, 6]);
    assert.equal((await dialler.client.unary(blob(990))).value.length, 990);
    close();
  });
}

test("headers, trailers and errors too large for a frame fail their call with the reason, and keep the socket", async () => {
  const long = "v".repeat(70_000);
  const { dialler, acceptor, close } = openEnds(
    {},
    {
      serves: {
        unary({ value }, { responseHeader, responseTrailer }) {
          const which = value[0] as number;
          if (which === 1) responseHeader.set("x-long", long);
          if (which === 2) responseTrailer.set("x-long", long);
          if (which === 3) throw new ConnectError(long.repeat(5), Code.Aborted);
          const detail = (bytes: number) => ({ desc: BytesValueSchema, value: blob(bytes) });
          if (which === 4) throw new ConnectError("large", Code.Aborted, undefined, [detail(300_000)]);
          if (which === 5) throw new ConnectError("many", Code.Aborted, undefined, Array(65).fill(detail(1)));
          const broken = { desc: BytesValueSchema, value: { value: 7 as never } };
          if (which === 6) throw new ConnectError("broken", Code.Aborted, undefined, [broken, detail(1)]);
          if (which === 7) responseHeader.set("x-odd", "a\u0001b");
          return { value };
        },
      },
    },
  );
  const ask = (which: number) => dialler.client.unary(blob(1, which));
  const exhausted = (what: string) => ({
    code: Code.ResourceExhausted,
    message: new RegExp(`the ${what} have 7\\d+ bytes: the other end takes at most 65536`),
  });
  await assert.rejects(ask(1), exhausted("headers"));
  await assert.rejects(ask(2), exhausted("trailers"));
  await assert.rejects(
    ask(3),
    (error) => error instanceof ConnectError && error.rawMessage === long.slice(0, 8192),
  );
  const failing = async (which: number) =>
    ConnectError.from(await ask(which).catch((error: unknown) => error));
  for (const [which, text, details] of [
    [4, "large", 0],
    [5, "many", 0],
    [6, "broken", 1],
  ] as const) {
    const error = await failing(which);
    assert.deepEqual([error.code, error.rawMessage, error.details.length], [Code.Aborted, text, details]);
  }
  await ask(7);
  await assert.rejects(dialler.client.unary({}, { headers: { "x-long": long } }), exhausted("headers"));
  assert.equal((await ask(0)).value.length, 1);
  assert(acceptor.session.isIdle);
  close();
});

test("the first call may have more headers than the default limit if the other end accepts more", async () => {
  const { dialler, close } = openEnds(
    {},
    { serves: { unary: (_, { requestHeader }) => blob(requestHeader.get("x-long")?.length ?? 0) } },
  );
  const { value } = await dialler.client.unary({}, { headers: { "x-long": "v".repeat(30_000) } });
  assert.equal(value.length, 30_000);
  close();
});

test("after a frame that closes the session, the rest of the message is not read", async () => {
  const net = createSocketPair();
  let answered = 0;
  const session: Session = new Session(net.ends[0], {
    isDialler: true,
    answer: () => answered++,
    // As a connection does with a session that is drained and idle.
    onGoaway: () => session.close(1000, "drained"),
  });
  const peer = new RawPeer(net, 1);
  peer.send(hello);
  peer.sendTogether({ kind: "goaway", lastId: 0, reason: "" }, call(2), end(2));
  await turns();
  assert.equal(answered, 0);
  assert.equal(peer.closed, "1000 drained");
});

test("for any frames of a peer, a session continues or closes its socket with a reason, and throws nothing", async () => {
  const valid: Frame[] = [
    hello,
    call(1),
    call(3, "/test.Blobs/Unary"),
    call(5, "/a.B/C"),
    { kind: "call", id: 7, method: 1, timeoutMs: 0, header: [["a", "b"]] },
    message(1, "\x0a\x01x"),
    message(3, "\xff\xff", true),
    message(2, "x"),
    end(1),
    status(2, { code: 3, text: "no" }),
    headers(2),
    reset(1),
    { kind: "credit", id: 1, bytes: 7 },
    { kind: "credit", id: 0, bytes: 7 },
    { kind: "ping", number: 1 },
    { kind: "pong", number: 1 },
    { kind: "goaway", lastId: 0, reason: "" },
  ];
  const random = randomFrom(Math.floor(Math.random() * 2 ** 32));
  const below = (most: number) => Math.floor(random() * most);
  let closed = 0;
  for (let run = 0; run < 400; run++) {
    const net = createSocketPair();
    const mine = run % 2 === 0 ? 1 : 0;
    const { client, session } = open(net, mine, {
      serves: {
        ...waits,
        unary: (ask) => ask,
      },
    });
    const calling = client
      .unary(blob(3), { timeoutMs: 50 })
      .catch((error: unknown) => ConnectError.from(error));
    const peer = new RawPeer(net, mine === 1 ? 0 : 1);
    peer.send(hello);
    for (let i = 0; i < 2; i++) {
      const bytes = bytesOf(
        ...Array.from({ length: 1 + below(3) }, () => valid[below(valid.length)] as Frame),
      );
      for (let n = below(2); n > 0; n--) bytes[below(bytes.length)] = below(256);
      peer.send(Buffer.from(bytes).toString("hex"));
    }
    await turns(4);
    if (peer.closed) {
      closed++;
      assert.match(peer.closed, /^(4\d\d\d|1000) ./);
      assert(Buffer.byteLength(peer.closed) <= 123 + 5);
    }
    session.close(1000, "over");
    assert((await calling) !== undefined);
  }
  assert(closed > 40 && closed < 390, `${closed} of 400`);
});

test("parse() throws on malformed messages", () => {
  assert.throws(() => parse(Uint8Array.of(3, 5, 1)));
});
