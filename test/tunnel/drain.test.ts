import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { afterEach, test, vi } from "vitest";
import { createDispatcher } from "../../src/tunnel/answer/dispatcher.js";
import { createCaller } from "../../src/tunnel/call/caller.js";
import { TunnelConnection, type TunnelConnectionOptions } from "../../src/tunnel/connection.js";
import type { Session } from "../../src/tunnel/session.js";
import { createSocketPair, type Pair, type PairOptions } from "../../src/tunnel/socket/pair.js";
import { Blobs } from "./blobs.js";
import { blob, type End, type EndOptions, open, turns, withResolvers } from "./ends.js";
import { RawPeer } from "./raw.js";
import { Observer } from "./wire.js";

afterEach(() => {
  vi.useRealTimers();
});

/** A connection whose sockets are pairs in memory; `accept` opens the other end of each. */
function openConnection(
  accept: (net: Pair, index: number) => void,
  options: Partial<TunnelConnectionOptions> = {},
  net: PairOptions = {},
) {
  const nets: Pair[] = [];
  const seen: Observer[] = [];
  let dials = 0;
  const connection: TunnelConnection = new TunnelConnection({
    async dial() {
      dials++;
      const fresh = createSocketPair(net);
      accept(fresh, nets.push(fresh) - 1);
      const observer = new Observer(1);
      seen.push(observer);
      return observer.watch(fresh.ends[0]);
    },
    host: "test",
    identity: () => undefined,
    answer: (session: () => Session) => createDispatcher(() => {}).on(session),
    idleMs: 60_000,
    ...options,
  });
  return {
    connection,
    nets,
    seen,
    client: createClient(Blobs, createCaller(connection)),
    dials: () => dials,
    close() {
      connection.close();
      for (const { faults } of seen) for (const fault of faults) throw fault;
    },
  };
}

/** An acceptor that records the calls that it answers, by the first byte of their request. */
function counting(answered: number[][], serves: EndOptions["serves"] = {}) {
  const ends: End[] = [];
  const accept = (net: Pair, index: number) => {
    answered[index] = [];
    ends[index] = open(net, 1, {
      serves: {
        unary(ask) {
          answered[index]?.push(ask.value[0] as number);
          return ask;
        },
        ...serves,
      },
    });
  };
  return { accept, ends };
}

test("GOAWAY: open calls finish, later ones use another socket, and the first closes with its last call", async () => {
  const go = withResolvers<void>();
  const answered: number[][] = [];
  const { accept, ends } = counting(answered, {
    async *bidi(input) {
      for await (const ask of input) {
        yield ask;
        await go.promise;
      }
    },
  });
  const at = openConnection(accept);
  const stream = at.client
    .bidi(
      (async function* () {
        for (const fill of [1, 2]) yield blob(1, fill);
      })(),
    )
    [Symbol.asyncIterator]();
  await stream.next();
  ends[0]?.session.sendGoaway("for the test");
  await turns();
  assert.equal((await at.client.unary(blob(1, 3))).value[0], 3);
  assert.deepEqual(answered, [[], [3]]);
  go.resolve();
  assert.equal((await stream.next()).value?.value[0], 2);
  assert.equal((await stream.next()).done, true);
  assert.match((await ends[0]?.lost)?.message ?? "", /1000: drained/);
  assert.equal(at.dials(), 2);
  at.close();
});

test("GOAWAY: calls that were not accepted, and calls that waited, are made again on another socket with all their messages", async () => {
  const answered: number[][] = [];
  const { accept } = counting(answered);
  const peers: RawPeer[] = [];
  const at = openConnection((net, index) => {
    if (index > 0) return accept(net, index);
    peers.push(new RawPeer(net, 1));
  });
  const calls = [at.client.unary(blob(100_000, 1))];
  await turns();
  const [peer] = peers as [RawPeer];
  // The other end answers three calls at a time: the first and two more are open, and two wait.
  peer.send({ kind: "settings", settings: { calls: 3 } });
  await turns();
  for (const fill of [2, 3, 4, 5]) calls.push(at.client.unary(blob(100_000, fill)));
  await peer.until(() => peer.of("MESSAGE", 5).length > 0);
  assert.equal(peer.of("CALL").length, 3);
  peer.send({ kind: "goaway", lastId: 3, reason: "full" });
  await turns();
  peer.send(
    { kind: "message", id: 1, bytes: Uint8Array.of(10, 1, 1), end: true, more: false },
    { kind: "status", id: 3, status: { code: Code.Aborted, text: "no", details: [], trailers: [] } },
  );
  assert.equal((await calls[0])?.value.length, 1);
  await assert.rejects(calls[1] as Promise<unknown>, { code: Code.Aborted });
  for (const call of calls.slice(2)) assert.equal((await call).value.length, 100_000);
  assert.deepEqual(answered[1], [3, 4, 5]);
  assert.match(peer.closed, /^1000 drained/);
  at.close();
});

test("GOAWAY: an upload that was queued is not written to the old socket any more", async () => {
  const answered: number[][] = [];
  const { accept } = counting(answered);
  const peers: RawPeer[] = [];
  const at = openConnection((net, index) => {
    if (index > 0) return accept(net, index);
    peers.push(new RawPeer(net, 1));
  });
  const first = at.client.unary(blob(200_000, 1));
  const others = [2, 3, 4, 5, 6, 7].map((fill) => at.client.unary(blob(200_000, fill)));
  await turns();
  const [peer] = peers as [RawPeer];
  // All credit of the connection is spent, so all of them are queued.
  peer.send({ kind: "settings", settings: { streamWindow: 1_000_000 } });
  await turns();
  // The connection gets credit at the moment when they are made again on another socket.
  peer.sendTogether({ kind: "goaway", lastId: 1, reason: "" }, { kind: "credit", id: 0, bytes: 3_000_000 });
  for (const call of others) assert.equal((await call).value.length, 200_000);
  assert.deepEqual(answered[1], [2, 3, 4, 5, 6, 7]);
  assert(peer.of("MESSAGE").every(({ id }) => peer.of("CALL", id).length === 1));
  // The accepted one continues on the old socket, and is complete.
  assert.equal(
    peer.of("MESSAGE", 1).reduce((bytes, { number }) => bytes + number, 0),
    200_004,
  );
  peer.send({ kind: "message", id: 1, bytes: Uint8Array.of(10, 1, 1), end: true, more: false });
  await first;
  at.close();
});

test("a call that was accepted is not made again, neither after GOAWAY nor if the socket is lost", async () => {
  const answered: number[][] = [];
  const { accept, ends } = counting(answered, { client: () => new Promise(() => {}) });
  const at = openConnection(accept);
  const call = at.client.client(
    (async function* () {
      yield blob(1);
    })(),
  );
  await turns();
  ends[0]?.session.sendGoaway("for the test");
  await turns();
  at.nets[0]?.cut();
  await assert.rejects(call, { code: Code.Unavailable });
  assert.equal(at.dials(), 1);
  at.close();
});

test("a lost socket: calls that were sent fail as unavailable, others are made again on the next one", async () => {
  const answered: number[][] = [];
  const { accept } = counting(answered);
  const at = openConnection(accept);
  assert.equal((await at.client.unary(blob(1, 1))).value[0], 1);
  // Sent, and in flight when the connection is lost.
  const written = at.client.unary(blob(1, 2));
  await turns(1);
  // Written only into this end's buffer.
  const unwritten = at.client.unary(blob(1, 3));
  for (let i = 0; i < 20; i++) await Promise.resolve();
  at.nets[0]?.cut();
  await assert.rejects(written, { code: Code.Unavailable, message: /the tunnel was lost/ });
  assert.equal((await unwritten).value[0], 3);
  assert.deepEqual(answered, [[1], [3]]);
  assert.equal(at.dials(), 2);
  at.close();
});

test("a session that closes with calls in its buffer sends them or makes them again, never both", async () => {
  let begun = 0;
  const { accept } = counting([], {
    async client() {
      begun++;
      return {};
    },
  });
  const at = openConnection(accept);
  await at.client.unary(blob(1, 1));
  const call = at.client.client((async function* () {})()).catch((error: { code: Code }) => error.code);
  // It is in the buffer, and waits for the end of this turn.
  for (let i = 0; i < 20; i++) await Promise.resolve();
  at.connection.session?.close(4003, "as if nothing was heard");
  assert.equal(await call, Code.Unavailable);
  await turns(50);
  assert.equal(begun, 1);
  at.close();
});

test("a call can be canceled wherever it waits, also beside a draining session", async () => {
  const answered: number[][] = [];
  const hold = {
    bidi: async function* () {
      await new Promise(() => {});
      yield {};
    },
  };
  const first = counting(answered, hold);
  const peers: RawPeer[] = [];
  const at = openConnection((net, index) => {
    if (index === 0) first.accept(net, index);
    else peers.push(new RawPeer(net, 1));
  });
  const stop = new AbortController();
  const idle = async function* () {
    await new Promise(() => {});
    yield {};
  };
  const draining = at.client.bidi(idle(), { signal: stop.signal })[Symbol.asyncIterator]().next();
  await turns();
  first.ends[0]?.session.sendGoaway("for the test");
  await turns();
  const taken = at.client.unary(blob(1, 1)).catch(() => {});
  await turns();
  const [peer] = peers as [RawPeer];
  peer.send({ kind: "settings", settings: { calls: 1 } });
  await turns();
  // This one waits until the accepted one ends.
  const waiting = at.client.unary(blob(1, 2), { timeoutMs: 20 });
  await assert.rejects(waiting, { code: Code.DeadlineExceeded });
  peer.send({ kind: "message", id: 1, bytes: Uint8Array.of(10, 1, 1), end: true, more: false });
  await taken;
  await turns();
  assert.equal(peer.of("CALL").length, 1);
  stop.abort();
  await assert.rejects(draining, { code: Code.Canceled });
  at.close();
});

test("a session whose other end has sent GOAWAY fails new calls at once, and those that it did not accept", async () => {
  const net = createSocketPair();
  const { client } = open(net, 1);
  const peer = new RawPeer(net, 0);
  const untaken = client.unary({});
  await turns();
  peer.send({ kind: "settings", settings: {} }, { kind: "goaway", lastId: 0, reason: "" });
  await assert.rejects(untaken, { code: Code.Unavailable });
  await assert.rejects(client.unary({}), { code: Code.Unavailable, message: /takes no more calls/ });
  peer.close(1000, "");
});

test("an idle socket is closed after idleMs, and opened again by the next call", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  const answered: number[][] = [];
  const { accept, ends } = counting(answered);
  const at = openConnection(accept, { idleMs: 5000 });
  await at.client.unary(blob(1, 1));
  vi.advanceTimersByTime(4000);
  await at.client.unary(blob(1, 2));
  vi.advanceTimersByTime(4000);
  await turns();
  assert(at.connection.session);
  vi.advanceTimersByTime(1500);
  await turns();
  assert.equal(at.connection.session, undefined);
  assert.match((await ends[0]?.lost)?.message ?? "", /1000: idle/);
  assert.equal((await at.client.unary(blob(1, 3))).value[0], 3);
  assert.deepEqual(answered, [[1, 2], [3]]);
  at.close();
});

test("a draining session does not keep the next one from closing when it is idle", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  const go = withResolvers<void>();
  const { accept, ends } = counting([], {
    async client() {
      await go.promise;
      return {};
    },
  });
  const at = openConnection(accept, { idleMs: 5000 });
  const slow = at.client.client((async function* () {})());
  await turns();
  ends[0]?.session.sendGoaway("for the test");
  await turns();
  await at.client.unary(blob(1, 1));
  vi.advanceTimersByTime(3000);
  go.resolve();
  await slow;
  await turns();
  vi.advanceTimersByTime(2500);
  await turns();
  assert.equal(at.connection.session, undefined);
  at.close();
});

test("an unreachable end is dialled again after a pause with full jitter; meanwhile calls fail with the reason", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  const random = vi.spyOn(Math, "random");
  const dialledAtMs: number[] = [];
  const { connection, client, close } = openConnection(() => {}, {
    dial: async () => {
      dialledAtMs.push(Date.now());
      throw new Error("no route");
    },
  });
  random.mockReturnValue(0.5);
  connection.keepOpen(true);
  for (let i = 0; i < 2000; i++) {
    vi.advanceTimersByTime(50);
    await turns(1);
  }
  const pauses = dialledAtMs.slice(1).map((at, i) => at - (dialledAtMs[i] as number));
  // Half of 100, 200, 400 …, and of at most 30 s.
  assert.deepEqual(
    pauses.slice(0, 12).map((ms) => Math.round(ms / 50) * 50),
    [50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000, 15000],
  );
  random.mockReturnValue(1);
  const unreachable = { code: Code.Unavailable, message: /cannot reach test: no route/ };
  const call = assert.rejects(client.unary({}), unreachable);
  for (let i = 0; i < 60; i++) {
    vi.advanceTimersByTime(50);
    await turns(1);
  }
  await call;
  random.mockRestore();
  close();
});

test("a call that waits for the next dial keeps the process alive, a pause without calls does not", async () => {
  const alive = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  vi.spyOn(Math, "random").mockReturnValue(1);
  const { connection, client, close } = openConnection(() => {}, {
    dial: async () => {
      throw new Error("no route");
    },
  });
  await assert.rejects(client.unary({}), { code: Code.Unavailable });
  await turns();
  const before = alive();
  connection.keepOpen(true);
  await turns();
  assert.equal(alive(), before);
  const call = assert.rejects(client.unary({}), { code: Code.Unavailable });
  await turns();
  assert.equal(alive(), before + 1);
  await call;
  vi.restoreAllMocks();
  close();
});

test("a browser that is online again dials at once", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  const target = new EventTarget();
  vi.stubGlobal("addEventListener", target.addEventListener.bind(target));
  vi.stubGlobal("removeEventListener", target.removeEventListener.bind(target));
  vi.spyOn(Math, "random").mockReturnValue(1);
  let isOnline = false;
  let tries = 0;
  const { accept } = counting([]);
  const net = createSocketPair();
  const { connection, close } = openConnection(accept, {
    dial: async () => {
      tries++;
      if (!isOnline) throw new Error("offline");
      open(net, 1);
      return net.ends[0];
    },
  });
  connection.keepOpen(true);
  for (let i = 0; i < 400; i++) {
    vi.advanceTimersByTime(50);
    await turns(1);
  }
  const before = tries;
  isOnline = true;
  target.dispatchEvent(new Event("online"));
  await turns();
  assert.equal(tries, before + 1);
  assert(connection.session);
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  close();
});

test("credentials that are sent again apply to the calls after them", async () => {
  const net = createSocketPair();
  const { session } = open(net, 1);
  const { session: mine } = open(net, 0, {
    identity: { appId: "shop", authorization: "Bearer one", offer: 1 },
  });
  await turns();
  assert.deepEqual(
    [session.peer.appId, session.peer.authorization, session.peer.offer],
    ["shop", "Bearer one", 1],
  );
  mine.sendSettings({ authorization: "Bearer two" });
  await turns();
  assert.deepEqual(
    [session.peer.appId, session.peer.authorization, session.peer.offer],
    ["shop", "Bearer two", 1],
  );
  mine.close(1000, "");
});
