import { Code } from "@connectrpc/connect";
import { RANGE_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { errorMetadata, expectMalformed, expectRefusal } from "../expect-refusal.js";
import { MISSING } from "../rules.js";
import { patternBytes } from "../test-data.js";
import { CHUNK_BYTES, type FileCalls } from "./calls.js";
import { createOnlyFileCases, putFileCases, unfinishedUploadCases } from "./writes.js";

/** Cases of PutFile, GetFile and DelFile. */
export function fileContentCases(on: DeclareCase<FileCalls>): void {
  putFileCases(on);
  createOnlyFileCases(on);
  unfinishedUploadCases(on);
  fileReadCases(on);
  missingFileCases(on);
  fileRangeCases(on);
}

function fileReadCases(on: DeclareCase<FileCalls>): void {
  on("PutFile", "GetFile sends chunks of up to 64 KiB, however the file was sent", async (at) => {
    const content = patternBytes(CHUNK_BYTES * 2 + 500);
    const cuts = [0, 0, 1, 300, CHUNK_BYTES + 301, content.length];
    const parts = cuts.slice(1).map((end, i) => ({ data: content.subarray(cuts[i], end) }));
    await at.put({ storeName: at.storeName, name: at.file("f") }, ...parts);
    const { chunks, bytes } = await at.get("f");
    for (const { length } of chunks) ok(length <= CHUNK_BYTES, `a chunk of ${length} bytes`);
    equal(bytes, content);
  });

  on("PutFile", "a file of 3 MiB comes back byte by byte", async (at) => {
    const content = patternBytes(3 * 1024 ** 2 + 7);
    const parts = Array.from({ length: 7 }, (_, i) => ({
      data: content.subarray(i * 512 * 1024, (i + 1) * 512 * 1024),
    }));
    await at.put({ storeName: at.storeName, name: at.file("f") }, ...parts);
    equal((await at.get("f")).bytes, content);
    equal((await at.getMeta("f")).size, BigInt(content.length));
  });

  on("PutFile", "many files are written and read at once", async (at) => {
    const names = Array.from({ length: 12 }, (_, i) => `f${i}`);
    const sizeOf = (i: number) => i * 10_000 + 1;
    await Promise.all(names.map((name, i) => at.store(name, patternBytes(sizeOf(i), i))));
    const got = await Promise.all(names.map((name) => at.get(name)));
    for (const [i, { bytes }] of got.entries()) equal(bytes, patternBytes(sizeOf(i), i), names[i]);
  });

  on("PutFile", "a reader that leaves early holds no one up", async (at) => {
    await at.store("f", new Uint8Array(10 * CHUNK_BYTES));
    const cancellation = new AbortController();
    const request = { storeName: at.storeName, name: at.file("f") };
    for await (const { data } of at.runtime.getFile(request, { signal: cancellation.signal })) {
      ok(data.length > 0, "there is a chunk");
      break;
    }
    cancellation.abort();
    await at.store("f", "new");
    equal((await at.get("f")).text, "new");
  });

  on("PutFile", "names are opaque: no two that differ are the same file", async (at) => {
    const names = ["a", "A", "a/b", "a//b", "a/../b", "..", "a b", "ж", "%61", "a\\b"];
    for (const name of names) await at.store(name, `of ${name}`);
    for (const name of names) equal((await at.get(name)).text, `of ${name}`, name);
  });
}

function missingFileCases(on: DeclareCase<FileCalls>): void {
  const rpcs: [string, (at: FileCalls) => Promise<unknown>][] = [
    ["GetFile", (at) => at.get("f")],
    ["DelFile", (at) => at.delete("f")],
    ["GetFileMeta", (at) => at.getMeta("f")],
  ];
  for (const [rpc, call] of rpcs) {
    on(MISSING, `${rpc} of a file that is not there is not_found, with its name`, async (at) => {
      const error = await expectRefusal(call(at), Code.NotFound);
      ok(error.rawMessage.includes(JSON.stringify(at.file("f"))), `it is named: ${error.rawMessage}`);
      equal(errorMetadata(error)?.["name"], at.file("f"));
    });

    on(MISSING, `${rpc} of a file that was deleted is not_found`, async (at) => {
      await at.store("f");
      await at.delete("f");
      await expectRefusal(call(at), Code.NotFound);
    });
  }

  on(MISSING, "a % in the name of a missing file stays one", async (at) => {
    const error = await expectRefusal(at.get("100%d %s.txt"), Code.NotFound);
    ok(error.rawMessage.includes("100%d %s.txt"), error.rawMessage);
  });

  on("PutFile", "DelFile deletes one file, and none that begins as it does", async (at) => {
    for (const name of ["a", "a/b", "ab"]) await at.store(name);
    await at.delete("a");
    equal(at.names(await at.list()), ["a/b", "ab"]);
  });
}

function fileRangeCases(on: DeclareCase<FileCalls>): void {
  const cases: [metadata: Record<string, string>, text: string, range: string][] = [
    [{ offset: "2" }, "23456789", "2-9/10"],
    [{ length: "3" }, "012", "0-2/10"],
    [{ offset: "4", length: "2" }, "45", "4-5/10"],
    [{ offset: "0", length: "10" }, "0123456789", "0-9/10"],
    [{ offset: "8", length: "100" }, "89", "8-9/10"],
    [{ offset: "10" }, "", "*/10"],
    [{ offset: "11", length: "1" }, "", "*/10"],
    [{ offset: "3", length: "0" }, "", "*/10"],
    [{ offset: "9".repeat(16) }, "", "*/10"],
    [{ length: "9".repeat(16) }, "0123456789", "0-9/10"],
  ];
  for (const [metadata, text, range] of cases) {
    const parts = Object.entries(metadata).map(([name, value]) => `${name} ${value}`);
    on(
      ["PutFile", "extensions"],
      `${parts.join(" and ")} of 10 bytes reads "${text}", confirmed as ${range}`,
      async (at) => {
        await at.store("f", "0123456789");
        const got = await at.get("f", metadata);
        equal([got.text, got.headers.get(RANGE_HEADER)], [text, range]);
      },
    );
  }

  on(["PutFile", "extensions"], "without offset and length there is no fairlead-range", async (at) => {
    await at.store("f", "0123456789");
    equal((await at.get("f")).headers.get(RANGE_HEADER), null);
  });

  on(["PutFile", "extensions"], "a range across chunks is exact", async (at) => {
    const content = patternBytes(3 * CHUNK_BYTES);
    await at.put(
      { storeName: at.storeName, name: at.file("f") },
      ...[0, 1, 2].map((i) => ({
        data: content.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES),
      })),
    );
    const got = await at.get("f", { offset: String(CHUNK_BYTES - 5), length: String(CHUNK_BYTES + 10) });
    equal(got.bytes, content.subarray(CHUNK_BYTES - 5, 2 * CHUNK_BYTES + 5));
  });

  for (const bad of ["-1", "1.5", "x", "", "1e3"]) {
    on(["PutFile", "extensions"], `an offset or a length of "${bad}" is invalid_argument`, async (at) => {
      await at.store("f");
      await expectMalformed(at.get("f", { offset: bad }), 'metadata["offset"]');
      await expectMalformed(at.get("f", { length: bad }), 'metadata["length"]');
    });
  }
}
