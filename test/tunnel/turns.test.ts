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

test("a large message is sent in pieces of 65 KiB while no other stream waits", async () => {
  const ends = openEnds({}, { serves: echo });
  await ends.dialler.ready;
  const sent = sentBy(ends);
  await ends.dialler.client.unary(blob(150_000));
  const pieces = sent.flat().filter(({ kind }) => kind === "MESSAGE");
  // Its tag and length are four bytes. A WebSocket message has 65 KiB with the headers of its frames.
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

test("large messages are sent in pieces of 16 KiB, one of each stream in turn", async () => {
  const ends = openEnds({}, { serves: echo });
  await ends.dialler.ready;
  const sent = sentBy(ends);
  await Promise.all([1, 2, 3].map((fill) => ends.dialler.client.unary(blob(200_000, fill))));
  const pieces = sent.flat().filter(({ kind }) => kind === "MESSAGE");
  assert.equal(pieces.length, 3 * 13);
  assert(pieces.every(({ number }) => number <= 16 * 1024));
  // Round robin: no stream sends two pieces before each of the others has sent one.
  assert.deepEqual(
    pieces.map(({ id }) => id),
    Array.from({ length: 13 }, () => [1, 3, 5]).flat(),
  );
  ends.close();
});

test("a small call overtakes uploads: it waits only for the bytes that were already written", async () => {
  const ends = openEnds(
    {},
    { serves: { ...echo, client: () => new Promise(() => {}), bidi: (input) => input } },
  );
  await ends.dialler.ready;
  const enough = new AbortController();
  const upload = async function* () {
    for (;;) yield blob(64 * 1024);
  };
  // Three uploads whose readers are fast.
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

test("control frames are sent before messages, however many messages wait", async () => {
  const ends = openEnds({}, { serves: { ...echo, client: () => new Promise(() => {}) } });
  await ends.dialler.ready;
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

test("the frames of one turn are sent in messages of about 1000 bytes, and one with the rest", async () => {
  const ends = openEnds({}, { serves: echo });
  await ends.dialler.ready;
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

test("a WebSocket message has at most about 64 KiB", async () => {
  const ends = openEnds({}, { serves: echo });
  await ends.dialler.ready;
  const sent = sentBy(ends);
  await Promise.all(Array.from({ length: 64 }, () => ends.dialler.client.unary(blob(15_000))));
  for (const frames of sent) {
    const bytes = frames.reduce((sum, { body }) => sum + body.length, 0);
    assert(bytes < 100 * 1024, `a message of ${bytes} bytes`);
  }
  ends.close();
});

test("a socket that does not drain gets no more than its high-water mark, and continues when it drains", async () => {
  const ends = openEnds({}, { serves: echo }, { maxTurns: 60 });
  const calls = Array.from({ length: 5 }, () => ends.dialler.client.unary(blob(200_000)));
  await turns(30);
  const [, underWay] = ends.net.bytesInFlight;
  assert(underWay <= (64 + 65 + 17) * 1024, `${underWay} bytes are in the socket`);
  assert.equal((await Promise.all(calls)).length, 5);
  ends.close();
});
