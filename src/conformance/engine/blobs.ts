import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { utf8 } from "../../lib/utf8.js";
import type { DeclareEngineCase } from "../engine.js";
import { equal, ok } from "../expect.js";
import { DISTINCT_NAMES, patternBytes } from "../test-data.js";
import { racingPutCases, snapshotReadCases, uncommittedBlobCases } from "./blobs/atomicity.js";
import { concatChunks, put, read, streamOfChunks } from "./blobs/content.js";
import { listBlobCases } from "./blobs/lists.js";
import { collect } from "./reader.js";
import { LATE_MS } from "./timing.js";

/** Cases of blobs: atomic writes, ranges, lists. */
export function engineBlobCases(on: DeclareEngineCase): void {
  putBlobCases(on);
  replaceBlobCases(on);
  uncommittedBlobCases(on);
  racingPutCases(on);
  snapshotReadCases(on);
  readBlobCases(on);
  listBlobCases(on);
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
    const blob = await blobs.get("b");
    equal(blob?.info, info);
    equal(blob && (await concatChunks(blob.content)), utf8("some text"));
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
      const blob = await blobs.get("b", length === undefined ? { offset } : { offset, length });
      equal(blob?.info, info);
      const end = length === undefined ? undefined : offset + length;
      equal(blob && (await concatChunks(blob.content)), whole.subarray(offset, end), `${offset}, ${length}`);
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
    const blob = await Promise.all([read(blobs, "b"), leave(), read(blobs, "b")]);
    equal(blob, [whole, undefined, whole]);
  });
}
