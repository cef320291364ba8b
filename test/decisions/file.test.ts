import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, decodeBinaryHeader } from "@connectrpc/connect";
import { test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import {
  GetFileMetaResponseSchema,
  type PutFileRequestSchema,
  Runtime,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../src/internal/utf8.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openHere } from "../doors.js";

const storeName = "default";
const PIECE = 64 * 1024;

type Part = MessageInitShape<typeof PutFileRequestSchema>;

async function* sent(parts: Part[]): AsyncGenerator<Part> {
  yield* parts;
}

async function open(options: ServerOptions = {}) {
  const engine = memoryEngine();
  const at = await openHere({ engine, ...options });
  const runtime = createClient(Runtime, at.transport);
  return {
    runtime,
    put: (...parts: Part[]) => runtime.putFile(sent(parts)),
    /** Stores empty files without a call for each. */
    async fill(names: string[], metadata: Record<string, string> = {}) {
      const empty = async function* () {};
      for (const name of names) {
        await engine.blobs.put(`${storeName}\0${name}`, empty(), { metadata, ifAbsent: false });
      }
    },
    /** Stores `text` under `name`. */
    store: (name: string, text = name) => runtime.putFile(sent([{ storeName, name, data: utf8(text) }])),
    /** The chunks of a file, and its response headers. */
    async get(name: string, metadata: Record<string, string> = {}) {
      let headers = new Headers();
      const onHeader = (header: Headers) => {
        headers = header;
      };
      const chunks: Uint8Array[] = [];
      for await (const { data } of runtime.getFile({ storeName, name, metadata }, { onHeader }))
        chunks.push(data);
      return { chunks, headers, text: fromUtf8(Buffer.concat(chunks)) };
    },
    meta: (name: string) => runtime.getFileMeta({ request: { storeName, name } }),
    list: (name = "", rest: { pageSize?: number; marker?: string } = {}) =>
      runtime.listFile({ request: { storeName, name }, ...rest }),
    delete: (name: string) => runtime.delFile({ request: { storeName, name } }),
    [Symbol.asyncDispose]: at[Symbol.asyncDispose],
  };
}

/** The error that a call fails with. */
async function failure(call: Promise<unknown>): Promise<ConnectError> {
  const error = await call.then(
    () => assert.fail("it did not fail"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConnectError);
  return error;
}

/** Asserts that the call is refused as malformed, and that the error names the field. */
async function refused(call: Promise<unknown>, field: string): Promise<void> {
  const error = await failure(call);
  assert.equal(error.code, Code.InvalidArgument, field);
  assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field);
}

test("a required field is empty, an enum number or a number is out of range, a name is malformed: of a file, named", async () => {
  await using at = await open();
  const request = (name: string) => ({ request: { storeName, name } });
  await refused(at.get(""), "name");
  await refused(at.runtime.getFileMeta(request("")), "request.name");
  await refused(at.runtime.delFile(request("")), "request.name");
  await refused(at.runtime.delFile({}), "request");
  await refused(at.runtime.listFile({}), "request");
  await refused(at.runtime.listFile({ request: { name: "" } }), "request.store_name");
  await refused(at.list("", { pageSize: -1 }), "page_size");
  await refused(at.put({ storeName, name: "f", metadata: { ifAbsent: "yes" } }), 'metadata["ifAbsent"]');
  await refused(at.put({ storeName, name: "f", metadata: { sha256: "00" } }), 'metadata["sha256"]');
  await refused(
    at.put({ storeName, name: "f", metadata: { contentType: "a\nb" } }),
    'metadata["contentType"]',
  );
  for (const offset of ["-1", "1.5", "x", "", "1e3", "9".repeat(16)]) {
    await refused(at.get("f", { offset }), 'metadata["offset"]');
    await refused(at.get("f", { length: offset }), 'metadata["length"]');
  }
});

test("unknown store, pubsub, binding, hello or app: of files, for each call", async () => {
  await using at = await open();
  const request = { storeName: "nope", name: "f" };
  const calls = [
    at.put(request),
    at.runtime.getFile(request)[Symbol.asyncIterator]().next(),
    at.runtime.listFile({ request }),
    at.runtime.delFile({ request }),
    at.runtime.getFileMeta({ request }),
  ];
  for (const call of calls) {
    const error = await failure(call);
    assert.equal(error.code, Code.InvalidArgument);
    assert.equal(error.rawMessage, 'file store "nope" is not configured; configured: "default"');
  }
});

test("no entry where one is required: GetFile, DelFile and GetFileMeta answer not_found", async () => {
  await using at = await open();
  await at.store("f");
  await at.delete("f");
  for (const call of [at.get("f"), at.delete("f"), at.meta("f")]) {
    const error = await failure(call);
    assert.equal(error.code, Code.NotFound);
    assert.equal(error.rawMessage, 'file "f" does not exist');
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.metadata["name"], "f");
  }
});

test("a limit is hit: of a file's metadata, which travels in a header", async () => {
  await using at = await open({ config: { limits: { fileMetadataBytes: 100 } } });
  const put = (length: number) => at.put({ storeName, name: "f", metadata: { owner: "x".repeat(length) } });
  await put(87);
  const error = await failure(put(88));
  assert.equal(error.code, Code.ResourceExhausted);
  assert.match(error.rawMessage, /fileMetadataBytes 100/);
});

test("PutFile: the first message names store, name and metadata, and every message may carry data", async () => {
  await using at = await open();
  await at.put(
    { storeName, name: "f", data: utf8("one "), metadata: { owner: "ada" } },
    { data: utf8("two ") },
    {},
    { storeName: "other", name: "g", data: utf8("three"), metadata: { owner: "bob" } },
  );
  assert.equal((await at.get("f")).text, "one two three");
  assert.deepEqual((await at.meta("f")).response?.metadata["owner"]?.value, ["ada"]);
  await refused(at.put({ name: "f" }, { storeName, name: "f" }), "store_name");
  await refused(at.put({ storeName }, { storeName, name: "f" }), "name");
});

test("PutFile: zero messages: invalid_argument", async () => {
  await using at = await open();
  await refused(at.put(), "store_name");
});

test("PutFile: the file appears whole at the end or not at all", async () => {
  await using at = await open();
  await at.store("f", "old");
  const { promise: middle, resolve: reached } = withResolvers();
  const { promise: looked, resolve: goOn } = withResolvers();
  async function* slow(): AsyncGenerator<Part> {
    yield { storeName, name: "f", data: new Uint8Array(2 * PIECE) };
    reached();
    await looked;
    yield { data: utf8("end") };
  }
  const put = at.runtime.putFile(slow());
  await middle;
  assert.equal((await at.get("f")).text, "old");
  goOn();
  await put;
  assert.equal((await at.meta("f")).size, BigInt(2 * PIECE + 3));

  async function* broken(): AsyncGenerator<Part> {
    yield { storeName, name: "f", data: new Uint8Array(PIECE) };
    throw new ConnectError("given up", Code.Canceled);
  }
  await assert.rejects(at.runtime.putFile(broken()));
  const abort = new AbortController();
  async function* aborted(): AsyncGenerator<Part> {
    yield { storeName, name: "f", data: new Uint8Array(PIECE) };
    abort.abort();
  }
  await assert.rejects(at.runtime.putFile(aborted(), { signal: abort.signal }), { code: Code.Canceled });
  await assert.rejects(at.put({ storeName, name: "f" }, { metadata: { ifAbsent: "?" } }));
  assert.equal((await at.meta("f")).size, BigInt(2 * PIECE + 3));
});

test("PutFile: ifAbsent creates only, and is not kept", async () => {
  await using at = await open();
  const put = (text: string, ifAbsent: string) =>
    at.put({ storeName, name: "f", data: utf8(text), metadata: { ifAbsent } });
  await put("first", "true");
  const error = await failure(put("second", "true"));
  assert.equal(error.code, Code.Aborted);
  assert.equal(error.findDetails(ErrorInfoSchema)[0]?.metadata["key"], "f");
  assert.deepEqual(Object.keys((await at.meta("f")).response?.metadata ?? {}), ["sha256"]);
  assert.equal((await at.get("f")).text, "first");
  await put("third", "false");
  assert.equal((await at.get("f")).text, "third");
});

test("PutFile: GetFile sends chunks of up to 64 KiB, however they were sent", async () => {
  await using at = await open();
  const content = randomBytes(PIECE * 2 + 500);
  const cuts = [0, 0, 1, 300, PIECE + 301, content.length];
  const parts = cuts.slice(1).map((end, i) => ({ data: content.subarray(cuts[i], end) }));
  await at.put({ storeName, name: "f" }, ...parts);
  const { chunks } = await at.get("f");
  assert.deepEqual(
    chunks.map(({ length }) => length),
    [PIECE, PIECE, 500],
  );
  assert.ok(Buffer.concat(chunks).equals(content));
});

test("PutFile: request metadata offset and length read a range, which the header fairlead-range confirms", async () => {
  await using at = await open();
  await at.store("f", "0123456789");
  const cases: [metadata: Record<string, string>, text: string, range: string][] = [
    [{ offset: "2" }, "23456789", "2-9/10"],
    [{ length: "3" }, "012", "0-2/10"],
    [{ offset: "4", length: "2" }, "45", "4-5/10"],
    [{ offset: "8", length: "100" }, "89", "8-9/10"],
    [{ offset: "10" }, "", "*/10"],
    [{ offset: "11", length: "1" }, "", "*/10"],
    [{ offset: "3", length: "0" }, "", "*/10"],
  ];
  for (const [metadata, text, range] of cases) {
    const { headers, ...got } = await at.get("f", metadata);
    assert.deepEqual([got.text, headers.get("fairlead-range")], [text, range]);
  }
  assert.equal((await at.get("f")).headers.get("fairlead-range"), null);
});

test("PutFile: FileMeta carries contentType, sha256 and the user's own keys, and comes in a header as well", async () => {
  await using at = await open();
  const metadata = { contentType: "text/plain", owner: "ада", constructor: "builder" };
  let stored: string | null = null;
  const onHeader = (headers: Headers) => {
    stored = headers.get("fairlead-file-bin");
  };
  const parts = sent([{ storeName, name: "f", data: utf8("hello"), metadata }]);
  await at.runtime.putFile(parts, { onHeader });
  const known = { ...metadata, sha256: createHash("sha256").update("hello").digest("hex") };
  const meta = await at.meta("f");
  const values = Object.entries(meta.response?.metadata ?? {}).map(([key, { value }]) => [key, ...value]);
  assert.deepEqual(Object.fromEntries(values), known);
  assert.equal(meta.size, 5n);
  const header = (await at.get("f")).headers.get("fairlead-file-bin");
  assert.deepEqual(decodeBinaryHeader(header ?? "", GetFileMetaResponseSchema), meta);
  assert.equal(stored, header);
  assert.deepEqual((await at.list()).files[0]?.metadata, known);
});

test("ListFile: name is a prefix, in byte order", async () => {
  await using at = await open();
  // UTF-16 has the last two the other way round.
  const names = ["a", "a/", "a/b", "a0", "b", "ж", "\u{ffff}", "\u{1f511}"];
  for (const name of names.toReversed()) await at.store(name);
  const listed = async (prefix: string) => (await at.list(prefix)).files.map(({ fileName }) => fileName);
  assert.deepEqual(await listed(""), names);
  assert.deepEqual(await listed("a/"), ["a/", "a/b"]);
  assert.deepEqual(await listed("c"), []);
});

test("ListFile: page_size 0 = 1000, and is_truncated is exact", async () => {
  await using at = await open();
  const names = Array.from({ length: 1001 }, (_, i) => `f${String(i).padStart(4, "0")}`);
  await at.fill(names.slice(0, 1000));
  const whole = await at.list();
  assert.deepEqual([whole.files.length, whole.isTruncated, whole.marker], [1000, false, "f0999"]);
  await at.fill(names.slice(1000));
  const page = await at.list();
  assert.deepEqual([page.files.length, page.isTruncated, page.marker], [1000, true, "f0999"]);
  const rest = await at.list("", { marker: page.marker });
  assert.deepEqual([rest.files.length, rest.isTruncated, rest.marker], [1, false, "f1000"]);
  assert.equal((await at.list("", { pageSize: 1001 })).files.length, 1001);
  const none = await at.list("x");
  assert.deepEqual([none.files.length, none.isTruncated, none.marker], [0, false, ""]);
});

test("ListFile: a page ends before it grows too large for gRPC clients, and says so", async () => {
  await using at = await open();
  const names = Array.from({ length: 600 }, (_, i) => `f${i}`);
  await at.fill(names, { note: "x".repeat(4000) });
  const page = await at.list();
  assert.ok(page.isTruncated && page.files.length > 500 && page.files.length < 600);
  assert.equal((await at.list("", { marker: page.marker })).files.length, 600 - page.files.length);
});

test("ListFile: marker is exclusive and need not exist", async () => {
  await using at = await open();
  for (const name of ["a", "b/1", "b/2", "b/3", "c"]) await at.store(name);
  const after = async (marker: string) =>
    (await at.list("b/", { marker })).files.map(({ fileName }) => fileName);
  assert.deepEqual(await after("b/1"), ["b/2", "b/3"]);
  assert.deepEqual(await after("b/1x"), ["b/2", "b/3"]);
  assert.deepEqual(await after("a"), ["b/1", "b/2", "b/3"]);
  assert.deepEqual(await after("b/3"), []);
  assert.deepEqual(await after("z"), []);
});

test("last_modified: RFC 3339 UTC, in milliseconds", async () => {
  await using at = await open();
  const before = Date.now();
  await at.store("f");
  const { lastModified } = await at.meta("f");
  assert.match(lastModified, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  const written = Date.parse(lastModified);
  assert.ok(before <= written && written <= Date.now());
  assert.equal((await at.list()).files[0]?.lastModified, lastModified);
});

/** `Promise.withResolvers`, which Node 20 lacks. */
function withResolvers() {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
