import { fromUtf8 } from "../../../lib/utf8.js";
import type { BlobStore } from "../../../server/engine.js";
import type { DeclareEngineCase } from "../../engine.js";
import { equal } from "../../expect.js";
import { ORDERED_NAMES } from "../../test-data.js";
import { collect } from "../reader.js";
import { put, read } from "./content.js";

export function listBlobCases(on: DeclareEngineCase): void {
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
