import { setTimeout as sleep } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { GossipMapService, type Message, MessageSchema } from "fairlead/gen/atomix/map/map_pb.js";
import type { InProcessServer } from "fairlead/server";
import type { Row } from "../table.js";
import { fill, keyAt, type Member, Members, until } from "./members.js";

const KEYS = 100_000;

/** How long the bytes after a change are counted, so that its confirmations are among them. */
const SETTLE_MS = 5000;

/** The bytes between one member and the server that find or spread a difference, relative to a full digest. */
export async function byteRows(quick: boolean): Promise<Row[]> {
  await using members = new Members();
  const [ada, bob] = [await members.join(), await members.join()];
  await fill(ada, KEYS);
  await until(() => bob.map.size === KEYS);
  await settle(ada, bob);
  const digestBytes = await fullDigestBytes(members.server);
  const row = (what: string, bytes: number, most: number): Row => ({
    what,
    ratio: bytes / digestBytes,
    goal: { atMost: most },
    shown: `${((bytes / digestBytes) * 100).toFixed(4)} %`,
    detail: `${Math.round(bytes)} against ${digestBytes} bytes`,
  });
  return [
    row("one changed key, eager update, two members, both ways", await eagerBytes(ada, bob), 0.01),
    row("one changed key, found after a broken stream, both ways", await foundBytes(ada, bob), 0.01),
    row("nothing changes: bytes per second of one member, both ways", await idleBytes(ada, quick), 0.001),
  ];
}

/** Waits until nothing more is sent. */
async function settle(...members: Member[]): Promise<void> {
  for (let messages = -1; messages !== 0; ) {
    for (const { wire } of members) wire.reset();
    await sleep(SETTLE_MS);
    messages = members.reduce((sum, { wire }) => sum + wire.messages, 0);
  }
}

/** One member changes a key; the update goes by the server to the other one. */
async function eagerBytes(ada: Member, bob: Member): Promise<number> {
  await settle(ada, bob);
  ada.map.set(keyAt(5), { name: "changed", count: 1 });
  await ada.map.synced();
  await until(() => bob.map.get(keyAt(5))?.name === "changed");
  await sleep(SETTLE_MS);
  return ada.wire.bytes + bob.wire.bytes;
}

/** A member reconnects after another one has changed a key. */
async function foundBytes(ada: Member, bob: Member): Promise<number> {
  ada.wire.cut();
  bob.map.set(keyAt(6), { name: "changed", count: 2 });
  await bob.map.synced();
  await settle(bob);
  ada.wire.reset();
  ada.wire.mend();
  await until(() => ada.map.get(keyAt(6))?.name === "changed");
  await ada.map.synced();
  await sleep(SETTLE_MS);
  return ada.wire.bytes;
}

async function idleBytes(ada: Member, quick: boolean): Promise<number> {
  await settle(ada);
  const seconds = quick ? 35 : 125;
  ada.wire.reset();
  await sleep(seconds * 1000);
  return ada.wire.bytes / seconds;
}

/** The bytes of the digests of all keys, one way, as the server sends them to a member of another implementation. */
async function fullDigestBytes(server: InProcessServer): Promise<number> {
  const source = "foreign";
  const target = { namespace: "default", name: "bench" };
  const advertisement = create(MessageSchema, {
    source,
    target,
    message: { case: "antiEntropyAdvertisement", value: {} },
  });
  let stop = () => {};
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  async function* requests(): AsyncGenerator<Message, void, undefined> {
    yield advertisement;
    await stopped;
  }
  let bytes = 0;
  let keys = 0;
  for await (const message of createClient(GossipMapService, server).connect(requests())) {
    if (message.message.case !== "antiEntropyAdvertisement") continue;
    bytes += toBinary(MessageSchema, message).length;
    keys += Object.keys(message.message.value.digest).length;
    if (keys >= KEYS) break;
  }
  stop();
  return bytes;
}
