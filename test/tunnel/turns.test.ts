import assert from "node:assert/strict";
import { Code } from "@connectrpc/connect";
import { test } from "vitest";
import { blob, openEnds, turns } from "./ends.js";
import { parse, type WireFrame } from "./wire.js";

/** Each WebSocket message that the dialler sends, as its frames. */
function sentBy(open: ReturnType<typeof openEnds>): WireFrame[][] {
  const sent: WireFrame[][] = [];
  open.dialler.seen.onMessage = (bytes) => sent.push(parse(bytes));
  return sent;
}

const echo = { unary: (ask: { value: Uint8Array }) => ask };

test("a large message goes in pieces of 65 KiB while no other waits", async () => {
  const ends = openEnds({}, { serves: echo });
  await ends.dialler.told;
  const sent = sentBy(ends);
  await ends.dialler.client.unary(blob(150_000));
  const pieces = sent.flat().filter(({ kind }) => kind === "MESSAGE");
  // Its tag and length are four bytes; each WebSocket message has room for 65 KiB, its frames' own bytes included.
  const sizes = pieces.map(({ number }) => number);
  assert.equal(
    sizes.reduce((sum, size) => sum + size),
    150_004,
  );
  assert.equal(sizes.length, 3);
  assert(
    sizes.every((size) => size <= 65 * 1024),
    String(sizes),
  );
  ends.close();
});

test("large messages go in pieces of 16 KiB, of each stream in turn", async () => {
  const ends = openEnds({}, { serves: echo });
  await ends.dialler.told;
  const sent = sentBy(ends);
  await Promise.all([1, 2, 3].map((fill) => ends.dialler.client.unary(blob(200_000, fill))));
  const pieces = sent.flat().filter(({ kind }) => kind === "MESSAGE");
  assert.equal(pieces.length, 3 * 13);
  assert(pieces.every(({ number }) => number <= 16 * 1024));
  // One after the other: no stream has two pieces before each of the others has had one.
  assert.deepEqual(
    pieces.map(({ id }) => id),
    Array.from({ length: 13 }, () => [1, 3, 5]).flat(),
  );
  ends.close();
});

test("a small call passes uploads by: it waits for no more than what has been written", async () => {
  const ends = openEnds(
    {},
    { serves: { ...echo, client: () => new Promise(() => {}), bidi: (input) => input } },
  );
  await ends.dialler.told;
  const enough = new AbortController();
  const upload = async function* () {
    for (;;) yield blob(64 * 1024);
  };
  // Three that are read as fast as they come.
  const uploads = [1, 2, 3].map(async () => {
    for await (const _ of ends.dialler.client.bidi(upload(), { signal: enough.signal }));
  });
  await turns(30);
  for (let i = 0; i < 10; i++) {
    const sent = sentBy(ends);
    const call = ends.dialler.client.unary(blob(10));
    await call;
    const all = sent.flat();
    const at = all.findIndex(({ kind, number, end }) => kind === "MESSAGE" && end && number < 100);
    const before = all
      .slice(0, at)
      .reduce((bytes, { number, kind }) => bytes + (kind === "MESSAGE" ? number : 0), 0);
    assert(at > 0 && before <= 64 * 1024, `${before} bytes went before it`);
  }
  enough.abort();
  for (const each of uploads) await assert.rejects(each, { code: Code.Canceled });
  ends.close();
});

test("frames that control go before frames that carry, however much there is of those", async () => {
  const ends = openEnds({}, { serves: { ...echo, client: () => new Promise(() => {}) } });
  await ends.dialler.told;
  const stop = new AbortController();
  const other = ends.dialler.client.unary(blob(1_000_000), { signal: stop.signal });
  const upload = ends.dialler.client.unary(blob(3_000_000));
  await turns(3);
  const sent = sentBy(ends);
  stop.abort();
  await assert.rejects(other, { code: Code.Canceled });
  await upload;
  const message = sent.find((frames) => frames.some(({ kind }) => kind === "RESET")) ?? [];
  assert.equal(sent.indexOf(message), 0);
  assert.equal(message[0]?.kind, "RESET");
  assert(message.some(({ kind }) => kind === "MESSAGE"));
  ends.close();
});

test("what is written in one turn leaves in one message of 1000 bytes, a few more or what is left", async () => {
  const ends = openEnds({}, { serves: echo });
  await ends.dialler.told;
  const sent = sentBy(ends);
  await Promise.all(Array.from({ length: 64 }, () => ends.dialler.client.unary(blob(16))));
  const [first, second, ...others] = sent.map((frames) => {
    const count = (wanted: string) => frames.filter(({ kind }) => kind === wanted).length;
    return {
      calls: count("CALL"),
      messages: count("MESSAGE"),
      bytes: frames.reduce((sum, { body }) => sum + body.length + 2, 0),
    };
  });
  assert(first && second);
  assert(first.bytes >= 1000 && first.bytes < 1040, `${first.bytes} bytes leave first`);
  assert.equal(first.calls + second.calls, 64);
  assert.equal(first.messages + second.messages, 64);
  assert.deepEqual(
    others.filter(({ calls }) => calls > 0),
    [],
  );
  ends.close();
});

test("a message has about 64 KiB at most", async () => {
  const ends = openEnds({}, { serves: echo });
  await ends.dialler.told;
  const sent = sentBy(ends);
  await Promise.all(Array.from({ length: 64 }, () => ends.dialler.client.unary(blob(15_000))));
  for (const frames of sent) {
    const bytes = frames.reduce((sum, { body }) => sum + body.length, 0);
    assert(bytes < 100 * 1024, `a message of ${bytes} bytes`);
  }
  ends.close();
});

test("a socket that takes nothing is given no more than its high water, and goes on when it does again", async () => {
  const ends = openEnds({}, { serves: echo }, { maxTurns: 60 });
  const calls = Array.from({ length: 5 }, () => ends.dialler.client.unary(blob(200_000)));
  await turns(30);
  const [, underWay] = ends.net.bytesInFlight;
  assert(underWay <= (64 + 65 + 17) * 1024, `${underWay} bytes are in the socket`);
  assert.equal((await Promise.all(calls)).length, 5);
  ends.close();
});
