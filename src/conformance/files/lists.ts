import { create } from "@bufbuild/protobuf";
import { decodeBinaryHeader } from "@connectrpc/connect";
import { GetFileMetaResponseSchema } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { compareUtf8 } from "../../lib/compare-utf8.js";
import { utf8 } from "../../lib/utf8.js";
import { FILE_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { expectLimit, expectMalformed, expectUnconfigured, UNKNOWN_NAMES } from "../expect-refusal.js";
import { LIMIT, REQUIRED, UNKNOWN } from "../rules.js";
import { type FileCalls, GO_FILE, streamOf } from "./calls.js";

/** Cases of ListFile and file metadata. */
export function fileListCases(on: DeclareCase<FileCalls>): void {
  listCases(on);
  listPageCases(on);
  fileMetadataCases(on);
  fileRefusalCases(on);
}

function listCases(on: DeclareCase<FileCalls>): void {
  on("ListFile", "name is a prefix, and files come in byte order", async (at) => {
    // In UTF-16 order the last two are swapped.
    const names = ["a", "a/", "a/b", "a0", "b", "ж", "\u{ffff}", "\u{1f511}"];
    equal(names, names.toSorted(compareUtf8));
    for (const name of names.toReversed()) await at.store(name);
    equal(at.names(await at.list()), names);
    equal(at.names(await at.list("a/")), ["a/", "a/b"]);
    equal(at.names(await at.list("c")), []);
  });

  on("ListFile", "a page has at most page_size files, and is_truncated is exact", async (at) => {
    for (const name of ["a", "b", "c"]) await at.store(name);
    const page = await at.list("", { pageSize: 2 });
    equal([at.names(page), page.isTruncated, page.marker], [["a", "b"], true, at.file("b")]);
    const rest = await at.list("", { pageSize: 2, marker: page.marker });
    equal([at.names(rest), rest.isTruncated, rest.marker], [["c"], false, at.file("c")]);
    const all = await at.list("", { pageSize: 3 });
    equal([at.names(all), all.isTruncated], [["a", "b", "c"], false]);
  });

  on("ListFile", "an empty list is not truncated and has no marker", async (at) => {
    const page = await at.list();
    equal([page.files, page.isTruncated, page.marker], [[], false, ""]);
  });
}

function listPageCases(on: DeclareCase<FileCalls>): void {
  on("ListFile", "page after page gives every file once", async (at) => {
    const names = Array.from({ length: 25 }, (_, i) => `f${String(i).padStart(2, "0")}`);
    await Promise.all(names.map((name) => at.store(name)));
    const seen: string[] = [];
    for (let marker = "", more = true; more; ) {
      const page = await at.list("", { pageSize: 4, marker });
      seen.push(...at.names(page));
      marker = page.marker;
      more = page.isTruncated;
    }
    equal(seen, names);
  });

  on("ListFile", "a page_size of 0 takes more than a few", async (at) => {
    const names = Array.from({ length: 120 }, (_, i) => `f${String(i).padStart(3, "0")}`);
    await Promise.all(names.map((name) => at.store(name, "")));
    const page = await at.list("", { pageSize: 0 });
    equal([at.names(page), page.isTruncated], [names, false]);
  });

  on("ListFile", "marker is exclusive, and need not exist", async (at) => {
    for (const name of ["a", "b/1", "b/2", "b/3", "c"]) await at.store(name);
    const after = async (marker: string) => at.names(await at.list("b/", { marker: at.file(marker) }));
    equal(await after("b/1"), ["b/2", "b/3"]);
    equal(await after("b/1x"), ["b/2", "b/3"]);
    equal(await after("a"), ["b/1", "b/2", "b/3"]);
    equal(await after("b/3"), []);
    equal(await after("z"), []);
  });

  on("ListFile", "a list tells size, time and what is kept", async (at) => {
    await at.store("f", "hello", { owner: "ada" });
    const [file] = (await at.list()).files;
    equal([file?.size, file?.metadata["owner"]], [5n, "ada"]);
    equal(file?.lastModified, (await at.getMeta("f")).lastModified);
  });

  on("ListFile", "a file that was replaced is listed once, as it is now", async (at) => {
    await at.store("f", "1");
    await at.store("f", "22");
    equal(
      (await at.list()).files.map(({ size }) => size),
      [2n],
    );
  });
}

function fileMetadataCases(on: DeclareCase<FileCalls>): void {
  on("PutFile", "FileMeta carries contentType, sha256 and the user's own keys", async (at) => {
    const metadata = { ...GO_FILE, contentType: "text/plain", owner: "ада", constructor: "builder" };
    await at.store("f", "hello", metadata);
    const sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    equal(await at.metadata("f"), { ...metadata, sha256 });
    equal((await at.getMeta("f")).size, 5n);
    equal({ ...(await at.list()).files[0]?.metadata }, { ...metadata, sha256 });
  });

  on(
    ["PutFile", "extensions"],
    "PutFile and GetFile describe the file in a header as GetFileMeta does",
    async (at) => {
      let stored: string | null = null;
      const onHeader = (headers: Headers) => {
        stored = headers.get(FILE_HEADER);
      };
      const part = {
        storeName: at.storeName,
        name: at.file("f"),
        data: utf8("x"),
        metadata: { ...GO_FILE, owner: "ada" },
      };
      at.after(() => at.delete("f"));
      await at.runtime.putFile(streamOf([part]), { onHeader });
      const header = (await at.get("f")).headers.get(FILE_HEADER);
      equal(stored, header);
      const described = decodeBinaryHeader(header ?? "", GetFileMetaResponseSchema);
      equal(described, create(GetFileMetaResponseSchema, await at.getMeta("f")));
    },
  );

  on("last_modified", "last_modified is RFC 3339 in UTC", async (at) => {
    await at.store("f");
    const { lastModified } = await at.getMeta("f");
    ok(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(lastModified), lastModified);
    ok(!Number.isNaN(Date.parse(lastModified)), "it is a time");
  });

  on(["last_modified", "time"], "last_modified moves with the last write", async (at) => {
    await at.store("f");
    const before = Date.parse((await at.getMeta("f")).lastModified);
    await at.pass(20);
    await at.store("f");
    ok(Date.parse((await at.getMeta("f")).lastModified) > before, "it is later");
  });
}

function fileRefusalCases(on: DeclareCase<FileCalls>): void {
  on(REQUIRED, "a request about a file must be there and name it", async (at) => {
    const { storeName } = at;
    await expectMalformed(at.runtime.getFile({ storeName, name: "" })[Symbol.asyncIterator]().next(), "name");
    await expectMalformed(at.runtime.getFileMeta({ request: { storeName, name: "" } }), "request.name");
    await expectMalformed(at.runtime.delFile({ request: { storeName, name: "" } }), "request.name");
    await expectMalformed(at.runtime.delFile({}), "request");
    await expectMalformed(at.runtime.getFileMeta({}), "request");
    await expectMalformed(at.runtime.listFile({}), "request");
    await expectMalformed(at.runtime.listFile({ request: { name: "" } }), "request.store_name");
  });

  on(REQUIRED, "a page_size below 0 is invalid_argument", async (at) => {
    await expectMalformed(at.list("", { pageSize: -1 }), "page_size");
  });

  on([REQUIRED, "extensions"], "metadata that means something must be well formed", async (at) => {
    await expectMalformed(at.store("f", "", { ifAbsent: "yes" }), 'metadata["ifAbsent"]');
    await expectMalformed(at.store("f", "", { sha256: "00" }), 'metadata["sha256"]');
    await expectMalformed(at.store("f", "", { contentType: "a\nb" }), 'metadata["contentType"]');
  });

  on(
    UNKNOWN,
    "each file RPC on a store that is not configured is invalid_argument, naming it",
    async (at) => {
      for (const storeName of UNKNOWN_NAMES) {
        const request = { storeName, name: "f" };
        await expectUnconfigured(at.put(request), "file store", storeName);
        const file = at.runtime.getFile(request)[Symbol.asyncIterator]();
        await expectUnconfigured(file.next(), "file store", storeName);
        await expectUnconfigured(at.runtime.listFile({ request }), "file store", storeName);
        await expectUnconfigured(at.runtime.delFile({ request }), "file store", storeName);
        await expectUnconfigured(at.runtime.getFileMeta({ request }), "file store", storeName);
      }
    },
  );

  on(LIMIT, "a name above 1024 bytes is resource_exhausted", async (at) => {
    const name = `f${"é".repeat(512)}`;
    await expectLimit(at.put({ storeName: at.storeName, name }), "keyBytes");
    await expectLimit(at.runtime.getFileMeta({ request: { storeName: at.storeName, name } }), "keyBytes");
  });

  on([LIMIT, "extensions"], "what is kept with a file is bounded, for it travels in a header", async (at) => {
    await expectLimit(at.store("f", "", { note: "x".repeat(100_000) }), "fileMetadataBytes");
  });
}
