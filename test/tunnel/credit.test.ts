import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { expectManyListeners } from "../../src/lib/max-listeners.js";
import { createSocketPair } from "../../src/tunnel/socket/pair.js";
import { blob, open, openEnds, turns, withResolvers } from "./ends.js";
import type { Frame } from "./frames.js";
import { RawPeer } from "./raw.js";

const KIB = 1024;
/** The smallest windows that are allowed. */
const SMALL = { streamWindow: 64 * KIB, mostStreamWindow: 64 * KIB, connectionWindow: 256 * KIB };

const hello: Frame = { kind: "settings", settings: {} };
const call = (id: number, path: string): Frame => ({
  kind: "call",
  id,
  method: `/test.Blobs/${path}`,
  timeoutMs: undefined,
  header: [],
});
const message = (id: number, size: number, end = false, more = false): Frame => ({
  kind: "message",
  id,
  bytes: new Uint8Array(size),
  end,
  more,
});
/** `count` times the same frame. */
const times = (count: number, frame: Frame): Frame[] => Array.from({ length: count }, () => frame);

const sum = (peer: RawPeer, id: number): number =>
  peer.of("CREDIT", id).reduce((bytes, { number }) => bytes + number, 0);

test("credit is returned when a message is consumed, not when it arrives", async () => {
  const net = createSocketPair();
  const go = withResolvers<void>();
  open(net, 1, {
    limits: SMALL,
    serves: {
      async client(input) {
        await go.promise;
        for await (const _ of input);
        return {};
      },
    },
  });
  const peer = new RawPeer(net, 0);
  peer.send(hello, call(1, "Client"));
  for (let i = 0; i < 4; i++) peer.send(message(1, 15_000));
  await turns();
  assert.equal(sum(peer, 1), 0);
  go.resolve();
  await peer.until(() => sum(peer, 1) > 0);
  assert(sum(peer, 1) <= 4 * 15_032);
  peer.close(1000, "");
});

for (const [what, path, frames] of [
  ["a message that is too large", "Unary", [message(1, 9000, true)]],
  [
    "a message in pieces that is too large",
    "Unary",
    [...times(9, message(1, 1000, false, true)), message(1, 1, true)],
  ],
  ["messages that the handler does not read", "Client", times(9, message(1, 1000))],
  ["messages of a call that is not served", "Nothing", times(9, message(1, 1000))],
  [
    "messages that wait when the call is canceled",
    "Bidi",
    [...times(9, message(1, 1000)), { kind: "reset", id: 1, code: 1 }],
  ],
  [
    "messages behind the end of the call",
    "Bidi",
    [{ kind: "reset", id: 1, code: 1 }, ...times(9, message(1, 1000))],
  ],
] as [string, string, Frame[]][]) {
  test(`${what}: the credit of discarded messages is returned to the connection`, async () => {
    const net = createSocketPair();
    open(net, 1, {
      limits: { ...SMALL, messageBytes: 4000 },
      serves: {
        unary: (ask) => ask,
        client: async () => ({}),
        async *bidi(_, { signal }) {
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
        },
      },
    });
    const peer = new RawPeer(net, 0);
    peer.send(hello);
    // Four times the connection window.
    for (let id = 1; id < 2 * 120; id += 2) {
      peer.sendTogether(call(id, path), ...frames.map((frame) => ({ ...frame, id }) as Frame));
      if (id % 20 === 1) await turns(3);
    }
    await peer.until(() => peer.closed !== "" || sum(peer, 0) > 3 * SMALL.connectionWindow);
    assert.equal(peer.closed, "");
    peer.close(1000, "");
  });
}

test("a message beyond the credit of its stream closes the socket, with a reason", async () => {
  const net = createSocketPair();
  const { lost } = open(net, 1, { limits: SMALL, serves: { client: () => new Promise(() => {}) } });
  const peer = new RawPeer(net, 0);
  peer.send(hello, call(1, "Client"), ...times(4, message(1, 16_000)));
  await turns();
  assert.equal(peer.closed, "");
  peer.send(message(1, 16_000));
  await lost;
  assert.match(peer.closed, /^4001 the credit of stream 1 was overdrawn by 14624 bytes$/);
});

test("messages beyond the credit of the connection close the socket, with a reason", async () => {
  const net = createSocketPair();
  const { lost } = open(net, 1, { limits: SMALL, serves: { client: () => new Promise(() => {}) } });
  const peer = new RawPeer(net, 0);
  peer.send(hello);
  for (let id = 1; id < 20; id += 2) peer.send(call(id, "Client"), ...times(4, message(id, 16_000)));
  await lost;
  assert.match(peer.closed, /^4001 the credit of the connection was overdrawn by \d+ bytes$/);
});

test("empty messages cost credit, too: beyond it the socket is closed", async () => {
  const net = createSocketPair();
  const { lost } = open(net, 1, { limits: SMALL, serves: { client: () => new Promise(() => {}) } });
  const peer = new RawPeer(net, 0);
  peer.send(hello, call(1, "Client"));
  peer.sendTogether(...times(2048, message(1, 0)));
  await turns();
  assert.equal(peer.closed, "");
  peer.send(message(1, 0));
  await lost;
  assert.match(peer.closed, /^4001 /);
});

test("a slow reader stops only its own writer, at its window", async () => {
  const enough = new AbortController();
  const { dialler, close } = openEnds(
    {},
    {
      serves: {
        unary: (ask) => ask,
        client: (_, { signal }) =>
          new Promise((resolve) => signal.addEventListener("abort", () => resolve({}))),
      },
    },
  );
  let written = 0;
  const asks = async function* () {
    for (;;) {
      written += 32 * KIB;
      yield blob(32 * KIB);
    }
  };
  const upload = dialler.client.client(asks(), { signal: enough.signal });
  await turns(60);
  const stoppedAt = written;
  for (let i = 0; i < 20; i++)
    assert.equal((await dialler.client.unary(blob(100_000))).value.length, 100_000);
  assert.equal(written, stoppedAt);
  // The window, the messages that wait to be written, and the current one.
  assert(written <= (256 + 64 + 64) * KIB, `${written} bytes were taken`);
  enough.abort();
  await assert.rejects(upload, { code: Code.Canceled });
  close();
});

test("15 responses that nobody reads fill their windows, and other calls use the remaining credit", async () => {
  const { dialler, close } = openEnds(
    {},
    {
      serves: {
        unary: (ask) => ask,
        async *server(ask) {
          for (;;) yield ask;
        },
      },
    },
  );
  const enough = new AbortController();
  expectManyListeners(enough.signal);
  const readers = Array.from({ length: 15 }, () =>
    dialler.client.server(blob(8 * KIB), { signal: enough.signal })[Symbol.asyncIterator](),
  );
  for (const reader of readers) await reader.next();
  await turns(60);
  for (let i = 0; i < 100; i++)
    assert.equal((await dialler.client.unary(blob(100_000))).value.length, 100_000);
  // The stopped responses continue where they were.
  for (const reader of readers) for (let i = 0; i < 60; i++) assert.equal((await reader.next()).done, false);
  enough.abort();
  await turns();
  close();
});

test("streams that wait for credit of the connection continue when it is returned", async () => {
  const go = withResolvers<void>();
  const { dialler, acceptor, close } = openEnds(
    {},
    {
      limits: SMALL,
      serves: {
        async client(input) {
          await go.promise;
          let bytes = 0;
          for await (const { value } of input) bytes += value.length;
          return { value: new Uint8Array([bytes / 100_000]) };
        },
      },
    },
  );
  await dialler.ready;
  const asks = async function* () {
    for (let i = 0; i < 5; i++) yield blob(100_000);
  };
  const calls = Array.from({ length: 10 }, () => dialler.client.client(asks()));
  await turns(60);
  assert(dialler.seen.credit <= 64, `${dialler.seen.credit} bytes are left`);
  go.resolve();
  for (const { value } of await Promise.all(calls)) assert.deepEqual([...value], [5]);
  assert(acceptor.session.isIdle);
  close();
});

test("the bytes of responses that wait are counted until they are written or the call has ended", async () => {
  const net = createSocketPair();
  let waiting = 0;
  open(net, 1, {
    limits: SMALL,
    onLeaving: (change) => {
      waiting += change;
    },
    serves: { unary: () => blob(1_000_000) },
  });
  const peer = new RawPeer(net, 0);
  peer.send(
    hello,
    ...[1, 3, 5].flatMap((id) => [call(id, "Unary"), { ...message(id, 0), end: true } as Frame]),
  );
  await turns(20);
  const inAll = 3 * (1_000_004 + 32);
  assert(waiting > inAll - 3 * 65536 - 1000 && waiting < inAll, String(waiting));
  peer.send({ kind: "reset", id: 3, code: Code.Canceled });
  await turns(5);
  assert(waiting < (inAll * 2) / 3, String(waiting));
  peer.send({ kind: "credit", id: 0, bytes: 5_000_000 }, { kind: "credit", id: 1, bytes: 5_000_000 });
  await turns(80);
  assert(waiting < inAll / 3, String(waiting));
  peer.close(1000, "");
  await turns(5);
  assert.equal(waiting, 0);
});

test("a message of any size passes through the smallest window", async () => {
  const { dialler, close } = openEnds({ limits: SMALL }, { limits: SMALL, serves: { unary: (ask) => ask } });
  const value = crypto.getRandomValues(new Uint8Array(60_000));
  const long = new Uint8Array(3_000_000);
  for (let at = 0; at < long.length; at += value.length) long.set(value, at);
  const answer = await dialler.client.unary({ value: long });
  assert(Buffer.compare(answer.value, long) === 0);
  close();
});

test("a window that shrinks is refused; one that grows applies to open streams, too", async () => {
  const net = createSocketPair();
  const { client, lost, session } = open(net, 0, {});
  const peer = new RawPeer(net, 1);
  peer.send({ kind: "settings", settings: { streamWindow: 65536, connectionWindow: 262144 } });
  const upload = client.client(
    (async function* () {
      for (;;) yield blob(16_000);
    })(),
  );
  await turns(40);
  const sent = () => peer.of("MESSAGE", 1).reduce((bytes, { number }) => bytes + number + 32, 0);
  assert.equal(sent(), 65536);
  peer.send({ kind: "settings", settings: { streamWindow: 100_000 } });
  await turns(40);
  assert.equal(sent(), 100_000);
  assert.equal(session.peer.streamWindow, 100_000);
  peer.send({ kind: "settings", settings: { streamWindow: 99_999 } });
  await assert.rejects(upload, { code: Code.Unavailable });
  await lost;
  assert.match(peer.closed, /^4000 a window is smaller/);
});

test("a window that grows applies to responses in progress, too", async () => {
  const net = createSocketPair();
  open(net, 1, {
    serves: {
      async *server(ask) {
        for (;;) yield ask;
      },
    },
  });
  const peer = new RawPeer(net, 0);
  peer.send({ kind: "settings", settings: { streamWindow: 65536, connectionWindow: 262144 } });
  peer.sendTogether(call(1, "Server"), {
    ...message(1, 0, true),
    bytes: Uint8Array.of(10, 2, 1, 2),
  } as Frame);
  const sent = () => peer.of("MESSAGE", 1).reduce((bytes, { number }) => bytes + number + 32, 0);
  await peer.until(() => sent() >= 65500);
  await turns(20);
  assert(sent() <= 65536);
  peer.send({ kind: "settings", settings: { streamWindow: 131072 } });
  await peer.until(() => sent() > 131_000);
  await turns(20);
  assert(sent() <= 131072);
  peer.close(1000, "");
});

test("a message is sent only with credit for its frame, and an empty one needs no more", async () => {
  const net = createSocketPair();
  const { client } = open(net, 0, {});
  const peer = new RawPeer(net, 1);
  peer.send({ kind: "settings", settings: { streamWindow: 65536, connectionWindow: 262144 } });
  const upload = client
    .client(
      (async function* () {
        // All but 31 bytes of the window, then empty messages.
        for (const size of [16_000, 16_000, 16_000, 17_357, 0, 0]) yield size === 0 ? {} : blob(size);
      })(),
    )
    .catch((error: unknown) => ConnectError.from(error));
  await turns(40);
  const cost = () => peer.of("MESSAGE", 1).reduce((bytes, { number }) => bytes + number + 32, 0);
  const before = cost();
  assert(65536 - before < 32, `${65536 - before} bytes of credit are left`);
  peer.send({ kind: "credit", id: 1, bytes: 32 - (65536 - before) });
  await turns(20);
  assert.equal(cost(), before + 32);
  peer.close(1000, "");
  assert.equal(((await upload) as ConnectError).code, Code.Unavailable);
});

test("the credit of a complete response that is canceled half read is returned", async () => {
  const { dialler, close } = openEnds(
    { limits: SMALL },
    {
      serves: {
        async *server(ask) {
          for (let i = 0; i < 4; i++) yield ask;
        },
      },
    },
  );
  for (let i = 0; i < 30; i++) {
    const stop = new AbortController();
    const reader = dialler.client.server(blob(12_000), { signal: stop.signal })[Symbol.asyncIterator]();
    await reader.next();
    await turns();
    stop.abort();
    await assert.rejects(reader.next(), { code: Code.Canceled });
  }
  assert(dialler.seen.granted * 2 > SMALL.connectionWindow, `${dialler.seen.granted} bytes are granted`);
  close();
});

test("the credit of a call's messages is returned after its deadline, even if its response still waits for credit", async () => {
  const net = createSocketPair();
  open(net, 1, {
    limits: SMALL,
    serves: {
      async *bidi() {
        for (;;) yield blob(16_000);
      },
    },
  });
  const peer = new RawPeer(net, 0);
  peer.send(hello, { ...call(1, "Bidi"), timeoutMs: 10 } as Frame);
  await new Promise((resolve) => setTimeout(resolve, 50));
  for (let i = 0; i < 20; i++) {
    peer.send(...times(5, message(1, 9000)));
    await turns(12);
  }
  assert.equal(peer.closed, "");
  assert(sum(peer, 0) > 2 * SMALL.connectionWindow);
  assert.equal(peer.of("STATUS").length, 0);
  peer.send({ kind: "credit", id: 1, bytes: 1_000_000 });
  await peer.until(() => peer.of("STATUS").length === 1);
  assert.equal(peer.of("STATUS")[0]?.number, Code.DeadlineExceeded);
  peer.close(1000, "");
});
