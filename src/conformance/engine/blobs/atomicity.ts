import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { utf8 } from "../../../lib/utf8.js";
import type { DeclareEngineCase } from "../../engine.js";
import { equal, ok, rejects } from "../../expect.js";
import { patternBytes } from "../../test-data.js";
import { pausedContent } from "../paused-content.js";
import { collect } from "../reader.js";
import { concatChunks, put, read, streamOfChunks } from "./content.js";

export function uncommittedBlobCases(on: DeclareEngineCase): void {
  on("blobs.put() shows nothing before its content has ended", async ({ blobs }) => {
    const { content, stopped, go } = pausedContent(utf8("first "), utf8("last"));
    const putting = put(blobs, "b", content);
    await stopped;
    equal(await blobs.get("b"), undefined);
    equal(await blobs.stat("b"), undefined);
    equal(await collect(blobs.list("")), []);
    go();
    await putting;
    equal(await read(blobs, "b"), utf8("first last"));
  });

  on("blobs.put() shows the old blob until its content has ended", async ({ blobs }) => {
    const old = await put(blobs, "b", "old", { metadata: { old: "1" } });
    const { content, stopped, go } = pausedContent(utf8("new "), utf8("one"));
    const putting = put(blobs, "b", content);
    await stopped;
    equal(await blobs.stat("b"), old);
    equal(await read(blobs, "b"), utf8("old"));
    go();
    await putting;
    equal(await read(blobs, "b"), utf8("new one"));
  });

  on("blobs.put() rethrows the error of its content, and nothing changes", async ({ blobs }) => {
    const broken = new Error("the upload broke off");
    const breaks = () =>
      (async function* () {
        yield patternBytes(100000);
        throw broken;
      })();
    await rejects(
      () => put(blobs, "b", breaks()),
      (error) => error === broken,
    );
    equal(await blobs.get("b"), undefined);
    const old = await put(blobs, "b", "old");
    await rejects(
      () => put(blobs, "b", breaks()),
      (error) => error === broken,
    );
    equal(await blobs.stat("b"), old);
    equal(await read(blobs, "b"), utf8("old"));
    equal((await collect(blobs.list(""))).length, 1);
  });
}

export function racingPutCases(on: DeclareEngineCase): void {
  on("blobs.put() with ifAbsent stores where the name is free, and only there", async ({ blobs }) => {
    const info = await put(blobs, "b", "first", { ifAbsent: true });
    equal(info?.size, 5);
    equal(await put(blobs, "b", "second", { ifAbsent: true }), undefined);
    equal(await blobs.stat("b"), info);
    equal(await read(blobs, "b"), utf8("first"));
  });

  on("blobs.put() with ifAbsent gives way where the name was taken meanwhile", async ({ blobs }) => {
    const { content, stopped, go } = pausedContent(utf8("too "), utf8("late"));
    const late = put(blobs, "b", content, { ifAbsent: true });
    await stopped;
    await put(blobs, "b", "first");
    go();
    equal(await late, undefined);
    equal(await read(blobs, "b"), utf8("first"));
  });

  on("blobs.put() with ifAbsent lets one of racing writers win", async ({ blobs }) => {
    const texts = Array.from({ length: 8 }, (_, i) => `text ${i}`);
    const infos = await Promise.all(texts.map((text) => put(blobs, "b", text, { ifAbsent: true })));
    const winners = texts.filter((_, i) => infos[i]);
    equal(winners.length, 1);
    equal(await read(blobs, "b"), utf8(winners[0] ?? ""));
  });

  on("blobs.put() of racing writers leaves one of them whole", async ({ blobs }) => {
    const contents = Array.from({ length: 4 }, (_, i) => [patternBytes(70000, i), patternBytes(10000, i)]);
    await Promise.all(contents.map((chunks) => put(blobs, "b", streamOfChunks(chunks))));
    const stored = await read(blobs, "b");
    const whole = await Promise.all(contents.map((chunks) => concatChunks(streamOfChunks(chunks))));
    const hash = bytesToHex(sha256(stored ?? new Uint8Array()));
    ok(
      whole.some((one) => bytesToHex(sha256(one)) === hash),
      "the blob is one of them",
    );
    equal((await blobs.stat("b"))?.sha256, hash);
  });
}

export function snapshotReadCases(on: DeclareEngineCase): void {
  on("blobs.get() reads the bytes that were there, whatever is written meanwhile", async ({ blobs }) => {
    const large = patternBytes(500000);
    await put(blobs, "b", streamOfChunks([large]));
    const [unread, begun, ranged] = [
      await blobs.get("b"),
      await blobs.get("b"),
      await blobs.get("b", { offset: 9 }),
    ];
    const chunks = begun?.content[Symbol.asyncIterator]();
    const first = await chunks?.next();
    await put(blobs, "b", "something else");
    ok(chunks && unread && ranged, "all are there");
    const rest = await concatChunks({ [Symbol.asyncIterator]: () => chunks });
    equal(first?.value, large.subarray(0, first?.value?.length));
    equal(rest, large.subarray(first?.value?.length));
    equal(await concatChunks(unread.content), large);
    await blobs.delete("b");
    equal(await concatChunks(ranged.content), large.subarray(9));
    equal(await blobs.get("b"), undefined);
  });

  on("blobs.get() reads on after the blob is deleted", async ({ blobs }) => {
    await put(blobs, "b", "text");
    const stored = await blobs.get("b");
    await blobs.delete("b");
    equal(stored && (await concatChunks(stored.content)), utf8("text"));
  });
}
