import assert from "node:assert/strict";
import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, test, vi } from "vitest";
import { createSocketPair } from "../../src/tunnel/socket/pair.js";
import { blob, open, openEnds, turns } from "./ends.js";
import { RawPeer } from "./raw.js";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Advances the fake clock by `ms`, and runs everything that is due meanwhile. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    vi.advanceTimersByTime(Math.min(left, 500));
    await turns(4);
  }
}

test("after 25 s of silence a PING is sent, and with its PONG the session stays open", async () => {
  const net = createSocketPair();
  const { session } = open(net, 0);
  const peer = new RawPeer(net, 1);
  const pong = () => peer.send({ kind: "pong", number: peer.of("PING").at(-1)?.number ?? 0 });
  peer.send({ kind: "settings", settings: {} });
  await turns();
  assert.equal(peer.of("PING").length, 1);
  pong();
  await pass(24_000);
  assert.equal(peer.of("PING").length, 1);
  await pass(2_000);
  assert.equal(peer.of("PING").length, 2);
  pong();
  await pass(9_000);
  assert(session.canBeginCalls);
  // Any frame resets the silence, and so delays the next PING.
  peer.send({ kind: "ping", number: 9 });
  await pass(24_000);
  assert.equal(peer.of("PING").length, 2);
  assert.deepEqual(
    peer.of("PONG").map(({ number }) => number),
    [9],
  );
  await pass(2_000);
  assert.equal(peer.of("PING").length, 3);
  peer.close(1000, "");
});

test("with an open call a PING is sent after 4 s, and without an answer within 4 s the calls fail as unavailable", async () => {
  const { dialler, acceptor, net } = openEnds({}, { serves: { unary: () => new Promise(() => {}) } });
  await dialler.ready;
  const call = dialler.client.unary(blob(1));
  const failed = assert.rejects(call, { code: Code.Unavailable, message: /nothing was heard for \d+ ms/ });
  await turns();
  net.stall();
  await pass(4000 + 3000);
  assert(dialler.session.canBeginCalls);
  await pass(2_000);
  await failed;
  assert(!dialler.session.canBeginCalls);
  // The other end detects the loss by itself.
  await pass(1000);
  assert.match((await acceptor.lost).message, /the tunnel was lost/);
});

test("an end that sends no SETTINGS is lost after 10 s", async () => {
  const net = createSocketPair();
  const { client, lost } = open(net, 0);
  new RawPeer(net, 1);
  const failed = assert.rejects(client.unary({}), { code: Code.Unavailable });
  await pass(11_000);
  await failed;
  assert.match((await lost).message, /nothing was heard/);
});

test("a lost session sends no PING", async () => {
  const { close } = openEnds();
  await turns();
  assert(vi.getTimerCount() > 0);
  close();
  await turns();
  assert.equal(vi.getTimerCount(), 0);
});

test("each end enforces a deadline by itself", async () => {
  const reasons: { code: Code }[] = [];
  const { dialler, net, close } = openEnds(
    {},
    {
      serves: {
        unary(_, { signal, timeoutMs }) {
          assert.equal(timeoutMs(), 3000);
          return new Promise((_, reject) => {
            signal.addEventListener("abort", () => {
              reasons.push(signal.reason);
              reject(signal.reason);
            });
          });
        },
      },
    },
  );
  await dialler.ready;
  const late = { code: Code.DeadlineExceeded };
  const call = assert.rejects(dialler.client.unary({}, { timeoutMs: 3000 }), late);
  await turns();
  // Neither end receives anything any more.
  net.stall();
  await pass(2500);
  assert.equal(reasons.length, 0);
  await pass(1000);
  await call;
  assert.deepEqual(
    reasons.map(({ code }) => code),
    [Code.DeadlineExceeded],
  );
  close();
});

test("a deadline that is weeks away, or infinite, has not passed", async () => {
  vi.useRealTimers();
  const slowly = () => new Promise((resolve) => setTimeout(resolve, 20));
  const { dialler, close } = openEnds(
    {},
    {
      serves: {
        async unary(ask) {
          await slowly();
          return ask;
        },
        async *server(ask) {
          await slowly();
          yield ask;
        },
      },
    },
  );
  for (const timeoutMs of [2 ** 31, 1e12, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY]) {
    assert.equal((await dialler.client.unary(blob(1), { timeoutMs })).value.length, 1);
    for await (const { value } of dialler.client.server(blob(1), { timeoutMs })) {
      assert.equal(value.length, 1);
    }
  }
  assert.equal(dialler.seen.sent["RESET"], undefined);
  close();
});
