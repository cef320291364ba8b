import assert from "node:assert/strict";
import { afterEach, beforeEach, test, vi } from "vitest";
import { PeerDirectory } from "../../../src/server/tunnel/app-registry/peer-directory.js";
import { PeerNetwork } from "../../support/peer-network.js";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

/** Delivers the messages that are on their way. */
const settle = async () => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** The directory of one more server, with what it knows of the others. */
async function open(network: PeerNetwork, own: [string, number][]) {
  const peers = network.join();
  const closing = new AbortController();
  const known = new Map<string, number>();
  const directory = new PeerDirectory({
    peers,
    closing: closing.signal,
    own: () => own,
    onCount: (server, name, count) => {
      if (count > 0) known.set(`${server} ${name}`, count);
      else known.delete(`${server} ${name}`);
    },
  });
  await directory.start();
  await settle();
  return { peers, closing, known, directory };
}

test("servers know each other's apps, whoever starts first, and what a server that closes had is forgotten", async () => {
  const network = new PeerNetwork();
  const one = await open(network, [["shop", 2]]);
  const two = await open(network, [["shop", 1]]);
  assert.deepEqual([...one.known], [[`${two.peers.id} shop`, 1]]);
  assert.deepEqual([...two.known], [[`${one.peers.id} shop`, 2]]);
  one.directory.announce("shop", 3);
  one.directory.announce("other", 1);
  await settle();
  assert.deepEqual([...two.known.values()], [3, 1]);
  one.closing.abort();
  await settle();
  assert.equal(two.known.size, 0);
});

test("a lost announcement is made up for, and a server that has gone without a word is forgotten", async () => {
  const network = new PeerNetwork();
  const apps: [string, number][] = [];
  const one = await open(network, apps);
  const two = await open(network, []);
  network.losesBroadcasts = true;
  apps.push(["shop", 1]);
  one.directory.announce("shop", 1);
  await settle();
  assert.equal(two.known.size, 0);
  network.losesBroadcasts = false;
  vi.advanceTimersByTime(40_000);
  await settle();
  assert.deepEqual([...two.known], [[`${one.peers.id} shop`, 1]]);
  one.peers.leave();
  for (let i = 0; i < 3; i++) vi.advanceTimersByTime(35_000);
  assert.equal(two.known.size, 1, "it may be slow");
  for (let i = 0; i < 3; i++) vi.advanceTimersByTime(35_000);
  assert.equal(two.known.size, 0);
});
