import assert from "node:assert/strict";
import { Code, ConnectError, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import fc from "fast-check";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createFiles, type FileInfo } from "../../src/client/files.js";
import { compareUtf8 } from "../../src/lib/compare-utf8.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";

const WRITTEN = "2024-02-29 23:30:00.123456789 +0530 IST";

/**
 * A file store with the manners of the Go runtime's `local`: no headers, no ranges, no `not_found` but in stat,
 * marks of files as metadata, Go's time text, and a marker that must exist.
 */
function goServer() {
  const stored = new Map<string, Uint8Array>();
  const seen = { metadata: [] as Record<string, string>[], reads: 0 };
  const missing = (what: string, name: string) =>
    new ConnectError(`${what} ${name}: no such file or directory`, Code.Internal);
  const service: Partial<ServiceImpl<typeof Runtime>> = {
    async *getFile({ name }, { signal }) {
      const content = stored.get(name);
      if (!content) throw missing("get file fail,err: open", name);
      seen.reads++;
      signal.addEventListener("abort", () => seen.reads--, { once: true });
      for (let at = 0; at < content.length; at += 102_400) yield { data: content.subarray(at, at + 102_400) };
    },
    async putFile(messages) {
      let first: { name: string; metadata: Record<string, string> } | undefined;
      const chunks: Uint8Array[] = [];
      for await (const message of messages) {
        first ??= message;
        chunks.push(message.data);
      }
      const { FileMode, FileFlag } = first?.metadata ?? {};
      if (!FileMode || !FileFlag) throw new ConnectError("fileMode is required for put file", Code.Internal);
      seen.metadata.push(first?.metadata ?? {});
      stored.set(first?.name ?? "", Buffer.concat(chunks));
      return {};
    },
    listFile({ request, pageSize, marker }) {
      const names = [...stored.keys()].filter((name) => name.startsWith(request?.name ?? "")).sort();
      const start = marker === "" ? 0 : names.indexOf(marker) + 1;
      const page =
        start === 0 && marker !== "" ? [] : names.slice(start, pageSize > 0 ? start + pageSize : undefined);
      return {
        files: page.map((fileName) => ({
          fileName,
          size: BigInt(stored.get(fileName)?.length ?? 0),
          lastModified: WRITTEN,
        })),
        marker: page.at(-1) ?? "",
        isTruncated: page.length > 0 && page.at(-1) !== names.at(-1),
      };
    },
    delFile({ request: { name } = {} as never }) {
      if (!stored.delete(name)) throw missing("remove", name);
      return {};
    },
    getFileMeta({ request: { name } = {} as never }) {
      const content = stored.get(name);
      if (!content) throw new ConnectError("file does not exist", Code.NotFound);
      const metadata = { FileMode: { value: ["420"] }, IsDir: { value: ["false"] } };
      return { size: BigInt(content.length), lastModified: WRITTEN, response: { metadata } };
    },
  };
  const transport = createRouterTransport(({ service: add }) => add(Runtime, service));
  return { files: createFiles(transport, "local"), stored, seen };
}

const described = (name: string, size: number): FileInfo => ({
  name,
  size,
  modifiedAt: new Date("2024-02-29T18:00:00.123Z"),
  contentType: undefined,
  sha256: undefined,
  metadata: { FileMode: "420", IsDir: "false" },
});

test("put() sends the mode and the flags that a local store asks for, unless they are given", async () => {
  const { files, stored, seen } = goServer();
  assert.equal(await files.put("a", "hello"), undefined);
  await files.put("b", "hello", { metadata: { FileMode: "384", owner: "ada" } });
  const type = { contentType: "text/plain; charset=utf-8" };
  assert.deepEqual(seen.metadata, [
    { FileMode: "420", FileFlag: "578", ...type },
    { FileMode: "384", FileFlag: "578", owner: "ada", ...type },
  ]);
  assert.equal(fromUtf8(stored.get("a") ?? new Uint8Array()), "hello");
});

test("put() with ifAbsent is refused, and lets go of its source", async () => {
  const { files, stored } = goServer();
  let canceled = false;
  const source = new ReadableStream<Uint8Array>({
    cancel() {
      canceled = true;
    },
  });
  await assert.rejects(files.put("a", source, { ifAbsent: true }), { code: Code.Unimplemented });
  assert.ok(canceled);
  assert.equal(stored.size, 0);
});

test("get() asks for what the headers do not tell, and reads a missing file as undefined", async () => {
  const { files } = goServer();
  await files.put("a", "hello");
  const file = await files.get("a");
  assert.deepEqual(file?.info, described("a", 5));
  const response = file.response();
  assert.equal(response.headers.get("content-length"), null);
  assert.equal(await response.text(), "hello");
  assert.equal(await files.get("missing"), undefined);
  assert.equal(await files.stat("missing"), undefined);
  await files.put("empty", "");
  assert.equal(await (await files.get("empty"))?.text(), "");
});

test("get() cuts out the range, and lets go of the rest", async () => {
  const { files, seen } = goServer();
  const content = crypto.getRandomValues(new Uint8Array(65_000));
  const large = Buffer.concat(Array.from({ length: 5 }, () => content));
  await files.put("a", large);
  const size = large.length;
  await fc.assert(
    fc.asyncProperty(
      fc.nat(size + 10),
      fc.option(fc.nat(size), { nil: undefined }),
      async (offset, length) => {
        const file = await files.get("a", { range: { offset, ...(length !== undefined && { length }) } });
        const wanted = large.subarray(offset, length === undefined ? undefined : offset + length);
        // To the end of the stream, which must let go by itself.
        assert.ok(Buffer.from(await new Response(file?.stream).arrayBuffer()).equals(wanted));
        assert.equal(seen.reads, 0);
      },
    ),
  );
});

test("list() pages, stat() and delete() tell what there is", async () => {
  const { files } = goServer();
  for (const name of ["d/1", "d/2", "d/3", "e"]) await files.put(name, name);
  const names: string[] = [];
  for await (const { name, modifiedAt } of files.list("d/", { pageSize: 2 })) {
    names.push(name);
    assert.deepEqual(modifiedAt, new Date("2024-02-29T18:00:00.123Z"));
  }
  assert.deepEqual(names, ["d/1", "d/2", "d/3"]);
  assert.deepEqual(await files.stat("e"), described("e", 1));
  assert.equal(await files.delete("e"), true);
  assert.equal(await files.delete("e"), false);
});

test("list() fails where a server says that more follow, and not from where", async () => {
  const listFile = () => ({ files: [{ fileName: "a" }], marker: "a", isTruncated: true });
  const transport = createRouterTransport(({ service }) => service(Runtime, { listFile }));
  const listed = async () => {
    const names: string[] = [];
    for await (const { name } of createFiles(transport, "local").list("a")) names.push(name);
  };
  await assert.rejects(listed, /^ConnectError: \[internal\] Cannot list "a" further/);
});

/** A server that lists as the Go runtime's `local` does: one folder's entries by their base names, folders among them. */
function goFolders(paths: readonly string[], { bucket = false } = {}) {
  const seen = { stats: 0 };
  const isFolder = (name: string) => paths.some((path) => path.startsWith(`${name.replace(/\/+$/, "")}/`));
  const missing = (name: string) =>
    new ConnectError(`open ${name}: no such file or directory`, Code.Internal);
  const namesIn = (folder: string): string[] => {
    if (bucket) {
      const [, prefix] = /^[^/]+\/(.*)$/.exec(folder) ?? [];
      if (prefix === undefined) throw new ConnectError("invalid fileName format", Code.Internal);
      return paths.filter((path) => path.startsWith(folder)).map((path) => path.slice(path.indexOf("/") + 1));
    }
    if (folder === "") throw missing("");
    const start = folder === "." ? "" : `${folder.replace(/\/+$/, "")}/`;
    if (start !== "" && !isFolder(start)) throw missing(folder);
    const below = paths.filter((path) => path.startsWith(start)).map((path) => path.slice(start.length));
    return [...new Set(below.map((path) => path.split("/")[0] ?? ""))];
  };
  const service: Partial<ServiceImpl<typeof Runtime>> = {
    listFile({ request, pageSize, marker }) {
      const names = namesIn(request?.name ?? "").sort(compareUtf8);
      const start = marker === "" ? 0 : names.indexOf(marker) + 1;
      const page = names.slice(start, start + pageSize);
      const files = page.map((fileName) => ({ fileName, size: 1n, lastModified: WRITTEN }));
      const last = page.at(-1) ?? "";
      return { files, marker: last, isTruncated: page.length > 0 && last !== names.at(-1) };
    },
    getFileMeta({ request }) {
      seen.stats++;
      const name = request?.name ?? "";
      if (!paths.includes(name) && !isFolder(name))
        throw new ConnectError("file does not exist", Code.NotFound);
      return { size: 1n, response: { metadata: { IsDir: { value: [String(isFolder(name))] } } } };
    },
    async *getFile({ name }) {
      if (!paths.includes(name)) throw missing(name);
      yield { data: utf8(name) };
    },
  };
  const transport = createRouterTransport(({ service: add }) => add(Runtime, service));
  return { files: createFiles(transport, "local"), seen };
}

async function namesOf(
  files: ReturnType<typeof createFiles>,
  prefix?: string,
  pageSize = 2,
): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of files.list(prefix, { pageSize })) names.push(name);
  return names;
}

const PATHS = ["d/a-", "d/a/b", "d/pre-1", "d/prefix/deep/x", "d/prefix/y", "d/ü", "e", "ee/f"];

test("list() gives the names that get() takes, in byte order, from a server that lists folders", async () => {
  const { files } = goFolders(PATHS);
  const prefixes = [
    "",
    "d/",
    "d",
    "d/a",
    "d/a/",
    "d/pre",
    "d/prefix/",
    "d/prefix/deep/x",
    "e",
    "none",
    "none/x",
    "d/none/",
  ];
  for (const pageSize of [1, 2, 1000]) {
    for (const prefix of prefixes) {
      const wanted = PATHS.filter((path) => path.startsWith(prefix)).sort(compareUtf8);
      assert.deepEqual(await namesOf(files, prefix, pageSize), wanted, prefix);
      for (const name of wanted) assert.equal(await (await files.get(name))?.text(), name);
    }
  }
});

test("list() finds files below any prefix, whatever their names", async () => {
  const part = fc.constantFrom("a", "b", "a-", "ab", "ä", "🔑");
  const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(path, { maxLength: 12 }),
      fc.integer({ min: 1, max: 3 }),
      async (all, pageSize) => {
        // What is a folder cannot be a file.
        const paths = all.filter((one) => !all.some((other) => other.startsWith(`${one}/`)));
        const { files } = goFolders(paths);
        for (const prefix of ["", "a", "a/", "a/a", "a/a/", "b/ab"]) {
          const wanted = paths.filter((one) => one.startsWith(prefix)).sort(compareUtf8);
          assert.deepEqual(await namesOf(files, prefix, pageSize), wanted, prefix);
        }
      },
    ),
    { numRuns: 50 },
  );
});

test("list() gives names with their bucket from an object store, and says so where it names none", async () => {
  const objects = ["bucket/a", "bucket/d/x", "bucket/d/y", "bucket/dd"];
  const { files } = goFolders(objects, { bucket: true });
  for (const prefix of ["bucket/", "bucket/d", "bucket/d/", "bucket/d/x", "bucket/none"]) {
    const wanted = objects.filter((path) => path.startsWith(prefix));
    assert.deepEqual(await namesOf(files, prefix), wanted, prefix);
    for (const name of wanted) assert.equal(await (await files.get(name))?.text(), name);
  }
  const why = /lists one folder or bucket: begin the prefix with its name/;
  await assert.rejects(namesOf(files), { code: Code.InvalidArgument, rawMessage: why });
});
