import assert from "node:assert/strict";
import { create, toBinary } from "@bufbuild/protobuf";
import { describe, test } from "vitest";
import { DigestSchema, type Message, MessageSchema } from "../../gen/atomix/map/map_pb.js";
import { decodeReserved, type MemberHello } from "../../src/gossip/reserved-key.js";
import { utf8 } from "../../src/lib/utf8.js";
import { LinkPair } from "../support/link-pair.js";

const keys = (count: number) => Array.from({ length: count }, (_, i) => `k${String(i).padStart(4, "0")}`);

const encoded = (message: NonNullable<Parameters<typeof create<typeof MessageSchema>>[1]>["message"]) =>
  toBinary(MessageSchema, create(MessageSchema, { source: "foreign", message }));

/** A link with `count` keys that has sent its first message to a peer. */
function greeted(count: number): LinkPair {
  const pair = new LinkPair();
  pair.share(keys(count));
  pair.a.link.advertise();
  pair.send();
  return pair;
}

const keysIn = ({ message }: Message): string[] =>
  message.case === "antiEntropyAdvertisement" ? Object.keys(message.value.digest).sort() : [];

/** The advertisements of `a` since the first message. */
function advertised(pair: LinkPair): string[][] {
  pair.messages.length = 0;
  pair.send();
  return pair.messages.map(keysIn).filter((keys) => keys.length > 0);
}

const recordsIn = (messages: Message[]) =>
  messages.flatMap(({ message }) => {
    const digest = message.case === "antiEntropyAdvertisement" && message.value.digest[""];
    return digest ? [decodeReserved(digest)] : [];
  });

describe("the first message", () => {
  test("of a small replica is its round for every peer, and of a larger one the root", () => {
    const small = greeted(3);
    assert.deepEqual(small.messages.map(keysIn), [["", ...keys(3)]]);
    const [record] = recordsIn(greeted(17).messages);
    assert.deepEqual([record?.hashes?.level, record?.hello], ["root", { afresh: false }]);
  });

  test("has nothing of the reserved key from a link that may not compare by hashes", () => {
    const pair = new LinkPair({ a: { hashes: false } });
    pair.share(keys(20));
    pair.a.link.advertise();
    assert.deepEqual(advertised(pair), [keys(20)]);
  });

  test("is not repeated before the peer is known", () => {
    const pair = greeted(20);
    pair.a.link.advertise();
    pair.a.link.confirm();
    assert.deepEqual(advertised(pair), []);
  });
});

describe("a peer that does not know the reserved key", () => {
  test("is recognized when it requests that key, and gets all digests at once", () => {
    const pair = greeted(20);
    pair.deliver(encoded({ case: "updateRequest", value: { keys: [""] } }), pair.a);
    assert.deepEqual(advertised(pair), [keys(20)]);
  });

  test("is recognized when it advertises without that key, which is compared in full", () => {
    const pair = greeted(20);
    const digest = { foreign: create(DigestSchema, { timestamp: new Uint8Array(8).fill(1) }) };
    pair.deliver(encoded({ case: "antiEntropyAdvertisement", value: { digest } }), pair.a);
    assert.deepEqual(advertised(pair), [keys(20)]);
    const sent = pair.messages.map(({ message }) => message.case);
    assert.deepEqual(sent, ["updateRequest", "update", "antiEntropyAdvertisement"]);
  });

  test("is recognized when it has answered nothing for 2 s, and the link wakes up for that", () => {
    const pair = greeted(20);
    assert.equal(pair.a.link.dueMs, pair.clock.ms + 2000);
    pair.clock.ms += 1999;
    assert.deepEqual(advertised(pair), []);
    pair.clock.ms += 1;
    assert.deepEqual(advertised(pair), [keys(20)]);
    pair.clock.ms += 20_000;
    pair.a.link.advertise();
    assert.deepEqual(advertised(pair), [keys(20)], "from then on without the reserved key");
  });

  test("has time for a round while it sends entries", () => {
    const pair = greeted(0);
    for (let i = 0; i < 5; i++) {
      pair.clock.ms += 9000;
      pair.deliver(encoded({ case: "update", value: {} }), pair.a);
      assert.deepEqual(advertised(pair), []);
    }
    assert.equal(pair.a.link.dueMs, pair.clock.ms + 10_000);
  });

  test("sees no reserved key on a link whose peer speaks first", () => {
    const pair = new LinkPair();
    pair.share(keys(20));
    pair.deliver(encoded({ case: "antiEntropyAdvertisement", value: { digest: {} } }), pair.a);
    assert.deepEqual(advertised(pair), [keys(20)]);
    pair.a.link.advertise();
    assert.deepEqual(advertised(pair), [keys(20)]);
  });

  test("may send anything under the reserved key: an entry, or a record of another version", () => {
    const pair = greeted(20);
    const timestamp = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 1, 0);
    const digest = { "": create(DigestSchema, { timestamp }) };
    pair.deliver(
      encoded({ case: "update", value: { updates: { "": { digest: digest[""], value: utf8("x") } } } }),
      pair.a,
    );
    assert.equal(pair.a.replica.get(""), undefined);
    pair.deliver(encoded({ case: "antiEntropyAdvertisement", value: { digest } }), pair.a);
    assert.deepEqual(advertised(pair), [keys(20)]);
  });

  test("is compared by hashes from the moment when it uses the reserved key", () => {
    const pair = greeted(20);
    pair.clock.ms += 2000;
    pair.a.sent.length = 0;
    assert.deepEqual(advertised(pair), [keys(20)]);
    pair.a.sent.length = 0;
    pair.b.link.advertise();
    pair.settle();
    assert.equal(pair.a.link.hasAll(pair.a.replica.revision), true);
    pair.a.link.advertise();
    assert.deepEqual(advertised(pair), [[""]]);
  });
});

describe("a hello", () => {
  test("is in the first record of each side, and is not repeated", () => {
    const seen: [string, MemberHello][] = [];
    const pair = new LinkPair({
      a: { hello: () => ({ syncedUpTo: 7n }), onHello: (hello) => void seen.push(["a", hello]) },
      b: { hello: () => ({ syncedUpTo: 9n }), onHello: (hello) => void seen.push(["b", hello]) },
    });
    pair.share(keys(20));
    pair.reopen();
    pair.settle();
    pair.a.link.advertise();
    pair.settle();
    assert.deepEqual(seen, [
      ["b", { afresh: false, syncedUpTo: 7n }],
      ["a", { afresh: false, syncedUpTo: 9n }],
    ]);
  });

  test.each([20, 3000])(
    "can tell a member with %i keys to start afresh before anything is compared",
    (count) => {
      const stale = "was removed long ago";
      let isFresh = false;
      const pair: LinkPair = new LinkPair({
        a: {
          hello: () => (isFresh ? {} : { syncedUpTo: 1n }),
          onHello: ({ afresh }) => {
            if (!afresh) return;
            isFresh = true;
            pair.a.replica.drop([...pair.a.replica.keys()]);
            pair.a.replica.set("unsent", utf8("mine"));
          },
        },
        b: { onHello: ({ syncedUpTo }) => (syncedUpTo === undefined ? undefined : { afresh: true }) },
      });
      pair.share(keys(count));
      pair.a.replica.set(stale, utf8("v"));
      pair.reopen();
      pair.settle();
      assert.equal(pair.isEqual, true);
      assert.equal(pair.b.replica.get(stale), undefined);
      assert.deepEqual(pair.b.replica.get("unsent")?.value, utf8("mine"));
      assert.equal(pair.b.replica.size, count + 1);
      assert.equal(pair.a.link.caughtUp, true);
    },
  );

  test("holds back comparisons with a member that must start afresh, and has not", () => {
    const pair = new LinkPair({ b: { onHello: () => ({ afresh: true }) } });
    pair.share(keys(20));
    pair.a.replica.set("stale", utf8("v"));
    pair.reopen();
    pair.step(pair.a, pair.b);
    pair.messages.length = 0;
    pair.a.link.advertise();
    const digest = { stale: create(DigestSchema, { timestamp: new Uint8Array(8).fill(1) }) };
    pair.deliver(encoded({ case: "antiEntropyAdvertisement", value: { digest } }), pair.b);
    pair.send();
    const fromB = pair.messages.map(({ message }) => message.case);
    assert.deepEqual(fromB, ["antiEntropyAdvertisement"]);
    assert.deepEqual(recordsIn(pair.messages), [{ hello: { afresh: true } }]);
  });
});
