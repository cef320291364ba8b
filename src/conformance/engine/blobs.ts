import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { BlobStore } from "../../server/engine.js";
import type { DeclareEngineCase } from "../engine.js";
import { equal, ok, rejects } from "../expect.js";
import { collect, DISTINCT_NAMES, LATE_MS, ORDERED_NAMES, patternBytes, pausedContent } from "./steps.js";

/** Blobs: whole or nothing, ranges, lists. */
export function engineBlobCases(on: DeclareEngineCase): void {
  putBlobCases(on);
  replaceBlobCases(on);
  uncommittedBlobCases(on);
  racingPutCases(on);
  snapshotReadCases(on);
  readBlobCases(on);
  listBlobCases(on);
}

type PutOptions = { metadata?: Record<string, string>; ifAbsent?: boolean };

const put = (
  blobs: BlobStore,
  name: string,
  content: AsyncIterable<Uint8Array> | string,
  { metadata = {}, ifAbsent = false }: PutOptions = {},
) =>
  blobs.put(name, typeof content === "string" ? streamOfChunks([utf8(content)]) : content, {
    metadata,
    ifAbsent,
  });

async function* streamOfChunks(chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function concatChunks(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts = await collect(chunks);
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function read(
  blobs: BlobStore,
  name: string,
  range?: { offset: number; length?: number },
): Promise<Uint8Array | undefined> {
  const found = await blobs.get(name, range);
  return found && concatChunks(found.content);
}

function putBlobCases(on: DeclareEngineCase): void {
  on("blobs.put() tells what it stored, and get() and stat() tell the same", async ({ blobs }) => {
    const beforeMs = Date.now();
    const metadata = { contentType: "text/plain", ключ: "钥匙 🔑", empty: "" };
    const info = await put(blobs, "b", "some text", { metadata });
    ok(info && Math.abs(info.modifiedMs - beforeMs) < LATE_MS, "it is modified now");
    equal(info, {
      name: "b",
      size: 9,
      sha256: bytesToHex(sha256(utf8("some text"))),
      modifiedMs: info.modifiedMs,
      metadata,
    });
    equal(await blobs.stat("b"), info);
    const found = await blobs.get("b");
    equal(found?.info, info);
    equal(found && (await concatChunks(found.content)), utf8("some text"));
  });

  on("blobs.get() and stat() of a missing blob are undefined", async ({ blobs }) => {
    equal(await blobs.get("b"), undefined);
    equal(await blobs.get("b", { offset: 1 }), undefined);
    equal(await blobs.stat("b"), undefined);
  });

  on("blobs.put() stores an empty blob, of no chunk or of an empty one", async ({ blobs }) => {
    for (const chunks of [[], [new Uint8Array()]]) {
      const info = await put(blobs, "b", streamOfChunks(chunks));
      equal([info?.size, info?.sha256], [0, bytesToHex(sha256(new Uint8Array()))]);
      equal(await read(blobs, "b"), new Uint8Array());
    }
  });

  on("blobs.put() joins chunks of any size", async ({ blobs }) => {
    const sizes = [1, 0, 70_000, 3, 65_536, 1024 ** 2 + 1, 0, 2];
    const chunks = sizes.map((size, i) => patternBytes(size, i));
    const whole = await concatChunks(streamOfChunks(chunks));
    const info = await put(blobs, "b", streamOfChunks(chunks));
    equal([info?.size, info?.sha256], [whole.length, bytesToHex(sha256(whole))]);
    equal(await read(blobs, "b"), whole);
  });
}

function replaceBlobCases(on: DeclareEngineCase): void {
  on("blobs.put() over a blob replaces its content and metadata", async ({ blobs }) => {
    await put(blobs, "b", "the old and longer one", { metadata: { old: "1" } });
    const info = await put(blobs, "b", "new", { metadata: { new: "1" } });
    equal(info?.metadata, { new: "1" });
    equal(await blobs.stat("b"), info);
    equal(await read(blobs, "b"), utf8("new"));
  });

  on("blobs: names are opaque, no two that differ are the same", async ({ blobs }) => {
    for (const name of DISTINCT_NAMES) await put(blobs, name, `of ${name}`);
    for (const name of DISTINCT_NAMES) {
      equal(await read(blobs, name), utf8(`of ${name}`), name);
      equal((await blobs.stat(name))?.name, name);
    }
  });

  on("blobs.delete() removes, and tells whether there was something", async ({ blobs }) => {
    equal(await blobs.delete("b"), false);
    await put(blobs, "b", "text");
    equal(await blobs.delete("b"), true);
    equal(await blobs.delete("b"), false);
    equal(await blobs.get("b"), undefined);
    equal(await collect(blobs.list("")), []);
    await put(blobs, "b", "again", { ifAbsent: true });
    equal(await read(blobs, "b"), utf8("again"));
  });
}

function uncommittedBlobCases(on: DeclareEngineCase): void {
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
        yield patternBytes(100_000);
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

function racingPutCases(on: DeclareEngineCase): void {
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
    const contents = Array.from({ length: 4 }, (_, i) => [patternBytes(70_000, i), patternBytes(10_000, i)]);
    await Promise.all(contents.map((chunks) => put(blobs, "b", streamOfChunks(chunks))));
    const found = await read(blobs, "b");
    const whole = await Promise.all(contents.map((chunks) => concatChunks(streamOfChunks(chunks))));
    const hash = bytesToHex(sha256(found ?? new Uint8Array()));
    ok(
      whole.some((one) => bytesToHex(sha256(one)) === hash),
      "the blob is one of them",
    );
    equal((await blobs.stat("b"))?.sha256, hash);
  });
}

function snapshotReadCases(on: DeclareEngineCase): void {
  on("blobs.get() reads the bytes that were there, whatever is written meanwhile", async ({ blobs }) => {
    const large = patternBytes(500_000);
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
    const found = await blobs.get("b");
    await blobs.delete("b");
    equal(found && (await concatChunks(found.content)), utf8("text"));
  });
}

function readBlobCases(on: DeclareEngineCase): void {
  on("blobs.get() with a range gives what there is of it", async ({ blobs }) => {
    const whole = patternBytes(200_000);
    const info = await put(blobs, "b", streamOfChunks([whole.subarray(0, 77_777), whole.subarray(77_777)]));
    const ranges: [number, number | undefined][] = [
      [0, undefined],
      [0, 0],
      [0, 1],
      [1, 199_999],
      [65_535, 2],
      [65_536, 65_536],
      [77_776, 3],
      [199_999, 1],
      [199_999, 100],
      [150_000, undefined],
      [100, 1_000_000],
      [200_000, undefined],
      [200_000, 1],
      [1_000_000, 1],
      [1_000_000, undefined],
    ];
    for (const [offset, length] of ranges) {
      const found = await blobs.get("b", length === undefined ? { offset } : { offset, length });
      equal(found?.info, info);
      const end = length === undefined ? undefined : offset + length;
      equal(
        found && (await concatChunks(found.content)),
        whole.subarray(offset, end),
        `${offset}, ${length}`,
      );
    }
  });

  on("blobs.get() of several readers gives each the whole, whoever leaves", async ({ blobs }) => {
    const whole = patternBytes(300_000);
    await put(blobs, "b", streamOfChunks([whole]));
    const leave = async () => {
      for await (const chunk of (await blobs.get("b"))?.content ?? []) {
        ok(chunk.length > 0, "no chunk is empty");
        break;
      }
    };
    const found = await Promise.all([read(blobs, "b"), leave(), read(blobs, "b")]);
    equal(found, [whole, undefined, whole]);
  });
}

function listBlobCases(on: DeclareEngineCase): void {
  const names = async (blobs: BlobStore, prefix: string, after?: string) =>
    (await collect(blobs.list(prefix, after))).map(({ name }) => name);

  on("blobs.list() is in the byte order of the names' UTF-8", async ({ blobs }) => {
    for (const name of [...ORDERED_NAMES].reverse()) await put(blobs, `p${name}`, name);
    equal(
      await names(blobs, "p"),
      ORDERED_NAMES.map((name) => `p${name}`),
    );
  });

  on("blobs.list() tells of each what stat() tells, under the prefix only", async ({ blobs }) => {
    for (const name of ["a", "p", "pa", "q", "P"]) await put(blobs, name, name, { metadata: { of: name } });
    equal(await collect(blobs.list("p")), [await blobs.stat("p"), await blobs.stat("pa")]);
    equal(await names(blobs, ""), ["P", "a", "p", "pa", "q"]);
    equal(await names(blobs, "none"), []);
  });

  on("blobs.list() goes on after a name, whether that is there or not", async ({ blobs }) => {
    for (const name of ["o", "p", "pa", "pc", "p😀", "q"]) await put(blobs, name, name);
    equal(await names(blobs, "p", "pa"), ["pc", "p😀"], "after one that is there");
    equal(await names(blobs, "p", "pb"), ["pc", "p😀"], "after one that is missing");
    equal(await names(blobs, "p", "p"), ["pa", "pc", "p😀"], "after the prefix itself");
    equal(await names(blobs, "p", "p\uffff"), ["p😀"], "after one that only UTF-16 puts behind");
    equal(await names(blobs, "p", "o"), ["p", "pa", "pc", "p😀"], "after one in front of the prefix");
    equal(await names(blobs, "p", "q"), [], "after one behind the prefix");
  });

  on("blobs.list() gives every one of many blobs, once", async ({ blobs }) => {
    const many = Array.from({ length: 300 }, (_, i) => `b${String(i).padStart(3, "0")}`);
    await Promise.all(many.map((name) => put(blobs, name, name)));
    equal(await names(blobs, "b"), many);
    equal(fromUtf8((await read(blobs, "b299")) ?? new Uint8Array()), "b299");
  });
}
